"""The secrets as environment variables of one child process."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from tasks.lib.errors import UsageError
from tasks.lib.process import not_started
from tasks.lib.redaction import Secret
from tasks.lib.secrets import dotenv

# What is ignored stays so in another program: `yes | head` within it would not end quietly.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def variables(plaintexts: Mapping[str, Secret]) -> dict[str, bytes]:
    """The variables that the env files among `plaintexts` define, later files on top.

    Raises:
        UsageError: a value cannot be an environment variable.

    """
    found: dict[str, bytes] = {}
    for name, plaintext in plaintexts.items():
        if name.endswith(".env"):
            found |= {pair.key: pair.value for pair in dotenv.parse(plaintext.reveal()).pairs}
    if wrong := [key for key, value in found.items() if b"\0" in value]:
        raise UsageError(f"{', '.join(wrong)}: no environment variable can hold a NUL byte.")
    return found


def become(argv: Sequence[str], plaintexts: Mapping[str, Secret]) -> None:
    """Replace this process by a program that has the secrets in its environment; it does not return.

    Raises:
        UsageError: no program was named.
        Failure: it was not found, or cannot be started.

    """
    if not argv:
        raise UsageError("No command was given.", "", "./inv secrets.exec --environment staging -- COMMAND")
    environment = {**{os.fsencode(k): os.fsencode(v) for k, v in os.environ.items()}}
    environment |= {key.encode(): value for key, value in variables(plaintexts).items()}
    sys.stdout.flush()
    sys.stderr.flush()
    before = {number: signal.signal(number, signal.SIG_DFL) for number in IGNORED_BY_PYTHON}
    try:
        os.execvpe(argv[0], list(argv), environment)  # noqa: S606 - no shell is what we want
    except OSError as error:
        for number, handler in before.items():
            signal.signal(number, handler)
        raise not_started(argv[0], error) from error
