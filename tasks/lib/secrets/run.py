"""The secrets as environment variables of one child process."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from tasks.lib import signals
from tasks.lib.errors import Failure, UsageError
from tasks.lib.process import not_started
from tasks.lib.redaction import Secret
from tasks.lib.secrets import dotenv
from tasks.lib.secrets.expected import refuse_errors

# Another program would inherit that these are ignored: `yes | head` within it would not end quietly.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def variables(plaintexts: Mapping[str, Secret], environment: str) -> dict[str, bytes]:
    """The variables that the env files among `plaintexts` define; a later file overrides an earlier one.

    What a deploy would refuse is a Failure here too, such as a NUL byte.
    """
    files = {name: plaintext for name, plaintext in plaintexts.items() if name.endswith(".env")}
    refuse_errors(files, "nothing was run", f"Fix it: ./inv secrets.edit FILE --environment {environment}")
    pairs = (pair for text in files.values() for pair in dotenv.parse(text.reveal()).pairs)
    return {pair.key: pair.value for pair in pairs}


def become(argv: Sequence[str], plaintexts: Mapping[str, Secret], of: str) -> None:
    """Replace this process by a program that has the secrets of environment `of`; it does not return.

    Raises UsageError where no program was named, Failure where it was not found, or cannot be started, or a
    secret file is not valid.
    """
    if not argv:
        raise UsageError("No command was given.", "", "./inv secrets.exec --environment staging -- COMMAND")
    environment = dict(os.environb) | {os.fsencode(k): v for k, v in variables(plaintexts, of).items()}
    sys.stdout.flush()
    sys.stderr.flush()
    ours = [number for number in signals.SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (*IGNORED_BY_PYTHON, *ours)}
    signals.check()  # one that comes from here on ends us, or the program
    try:
        os.execvpe(argv[0], list(argv), environment)  # noqa: S606 - no shell is what we want
    except OSError as error:
        for number, handler in before.items():
            signal.signal(number, handler)
        failure = not_started(argv[0], error)
        if isinstance(error, FileNotFoundError):  # `doctor` knows nothing of it
            failure = Failure(failure.what, failure.why, "Give its path, or put it on PATH.")
        raise failure from error
