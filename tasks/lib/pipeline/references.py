"""Where `${…}` stands in the value of a substitution, braces within braces included."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """What stands between `${` and the brace that closes it."""

    inner: str


def split(text: str) -> Iterator[str | Reference]:
    """Literal pieces and references in turn; `$$` escapes, and what never closes is literal."""
    begin = position = 0
    while position < len(text):
        end = None
        if text.startswith("$$", position):
            position += 1
        elif text.startswith("${", position):
            end = closing_brace(text, position + 2)
        if end is not None:
            yield text[begin:position]
            yield Reference(text[position + 2 : end])
            begin = position = end + 1
        else:
            position += 1
    yield text[begin:]


def closing_brace(text: str, position: int) -> int | None:
    """Where the braces close that opened before `position`; an escaped one closes nothing."""
    depth = 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text.startswith("${", position):
            depth += 1
            position += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
        position += 1
    return None
