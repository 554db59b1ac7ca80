"""How a secret value gets in: from a prompt that does not echo, or a pipe; from the command line if asked."""

import getpass
import sys

from tasks.lib.errors import UsageError
from tasks.lib.redaction import Secret


def key_and_value(given: str, in_history: bool) -> tuple[str, Secret | None]:
    """Take `NAME`, `NAME=-` or `NAME=VALUE` apart; no value means that it is to be read from stdin.

    Args:
        given: what stands on the command line.
        in_history: whether a value may stand there.

    Raises:
        UsageError: there is a value, and nobody said that it may be there.

    """
    key, equals, value = given.partition("=")
    if not equals or value == "-":
        return key, None
    if not in_history:
        raise UsageError(
            f"The value of {key} stands on the command line.",
            "Shell history and process lists keep it.",
            f"Pipe it, or type it at the prompt: ./inv secrets.set {key}. If it must be so: --in-history",
        )
    return key, Secret(value.encode())


def from_stdin(key: str) -> Secret:
    """Read a value: unseen at a terminal, else all of stdin without its last line feed.

    Raises:
        UsageError: nothing came, as when the program before the pipe failed.

    """
    if sys.stdin.isatty():
        value = Secret(getpass.getpass(f"{key}: ").encode())
    else:
        value = Secret(sys.stdin.buffer.read().removesuffix(b"\n"))
    if not len(value):
        raise UsageError(
            f"No value came for {key}, so nothing was changed.", "",
            f"To make it empty on purpose: ./inv secrets.set {key}= --in-history",
        )  # fmt: skip
    return value
