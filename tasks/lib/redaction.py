"""Secrets as a type: a value that does not print, and a filter for text that may carry one."""

import base64
import json
from collections.abc import Iterable
from typing import Final

REDACTED: Final = "[redacted]"
# Shorter values ("1", "true", "admin") would blank out half of any log.
SHORTEST_VALUE_TO_MASK: Final = 6
SHORTEST_LINE: Final = 12


class Secret:
    """Bytes that print as `[redacted]` wherever they are formatted, logged or compared in a test.

    Call `reveal()` for the bytes: the name makes every use easy to find.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The plaintext bytes."""
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return REDACTED

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is never serialised")


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every one of `secrets` (longest first) replaced by `[redacted]`."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_VALUE_TO_MASK:
            text = text.replace(secret, REDACTED)
    return text


def mask_cut(text: str, secrets: Iterable[str], mark: str) -> str:
    """The same for a text that was cut short, as `mark` at its end says: it may end within a secret."""
    if not text.endswith(mark):
        return mask(text, secrets)
    listed, shown = list(secrets), text.removesuffix(mark)
    lengths = range(len(shown), SHORTEST_VALUE_TO_MASK - 1, -1)
    ends = (n for n in lengths if any(secret.startswith(shown[-n:]) for secret in listed))
    if n := next(ends, 0):
        shown = shown[:-n] + REDACTED
    return mask(shown, listed) + mark


def forms(values: Iterable[str]) -> list[str]:
    """Secret values as they may occur: whole, line by line, escaped in JSON, and in base64."""
    found: set[str] = set()
    for value in values:
        lines = [line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST_LINE]
        for text in (value, *lines):
            found |= {text, json.dumps(text)[1:-1], base64.b64encode(text.encode()).decode()}
    return sorted(found, key=len, reverse=True)
