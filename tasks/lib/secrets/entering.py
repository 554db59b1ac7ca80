"""How a secret value gets in: from a prompt that does not echo, or a pipe; from the command line if asked."""

import getpass
import os
import shlex
import sys
from collections.abc import Collection

from tasks.lib import signals
from tasks.lib.errors import UsageError
from tasks.lib.redaction import SHORTEST, Secret


def key_and_value(given: str, in_history: bool) -> tuple[str, Secret | None]:
    """The parts of `NAME`, `NAME=-` or `NAME=VALUE`; no value means that it is to be read from stdin.

    Raises UsageError where there is no key, or a value without `in_history`, which accepts it there.
    """
    key, equals, value = given.partition("=")
    if not key:
        raise UsageError("No key was named.", "", "./inv secrets.set NAME --environment staging")
    if not equals or value == "-":
        return key, None
    if not in_history:
        quoted = shlex.quote(key)
        raise UsageError(
            f"The value of {key} is on the command line.",
            "Shell history and process lists keep it.",
            f"Pipe it, or type it at the prompt: ./inv secrets.set {quoted}. To accept that: --in-history",
        )
    return key, Secret(os.fsencode(value))


def refuse_short(key: str, value: Secret, open_keys: Collection[str]) -> None:
    """Refuse a value too short to be masked in logs and messages, but for an empty one and `open_keys`."""
    if 0 < len(value.reveal().decode(errors="replace").strip()) < SHORTEST and key not in open_keys:
        quoted = shlex.quote(key)
        raise UsageError(
            f"The value for {key} is shorter than {SHORTEST} characters, so nothing was changed.",
            "Logs and messages would show it: masking such a short text would hide half of them.",
            f"Choose a longer one. To accept that: ./inv secrets.set {quoted} --short",
        )


def from_stdin(key: str) -> Secret:
    """Read a value: without echo at a terminal, else all of stdin without its last line feed.

    Raises UsageError where it is empty, as when the program before the pipe failed, or what was typed is not
    text.
    """
    with signals.raised():
        value = _typed(key) if sys.stdin.isatty() else Secret(sys.stdin.buffer.read().removesuffix(b"\n"))
    if not len(value):
        raise UsageError(
            f"No value was given for {key}, so nothing was changed.",
            "",
            f"To make it empty on purpose: ./inv secrets.set {shlex.quote(key)}= --in-history",
        )
    return value


def _typed(key: str) -> Secret:
    """What a person types; nothing where they end it with Ctrl-D."""
    try:
        return Secret(getpass.getpass(f"{key}: ").encode())
    except EOFError:
        return Secret(b"")
    except UnicodeError:
        raise UsageError(
            f"The value typed for {key} is not UTF-8 text, so nothing was changed.",
            "",
            "Set the terminal to UTF-8, or pipe the value.",
        ) from None
