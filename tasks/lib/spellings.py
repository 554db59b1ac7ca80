"""How programs spell a text that they print, and where it stands in what they printed.

Each spelling is undone, not imitated: there are many ways to escape a text for a URL, and one to read it.
"""

import base64
import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

# Escapes within escapes: JSON that a log of JSON quotes, which an event quotes.
DEPTH: Final = 3
# Characters of base64 in a row that do not happen to be those of another text: six bytes.
WINDOW: Final = 8
CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
TO_STANDARD: Final = str.maketrans("-_", "+/")
MIXED: Final = re.compile(r"[-+/\w]", re.ASCII)
# What a unit of a spelling stands for: characters, each with how many it takes in the text.
Read = Sequence[tuple[str, int]]
Span = tuple[int, int]


@dataclass(frozen=True)
class Spelling:
    """A way to escape characters: what an escape looks like, and how it is read."""

    unit: "re.Pattern[str]"
    read: Callable[[str], Read]


@dataclass(frozen=True)
class View:
    """A text with a spelling undone.

    Args:
        text: how it reads.
        outer: the text before that; None for the text as it was.
        units: of each character that was escaped, where it is in `text`, and its start and end in `outer`.

    """

    text: str
    outer: "View | None" = None
    units: Sequence[tuple[int, int, int]] = ()

    def span(self, start: int, end: int) -> Span:
        """Where a part of the view stands in the text as it was."""
        if self.outer is None:
            return start, end
        return self.outer.span(self._outside(start)[0], self._outside(end - 1)[1])

    def _outside(self, at: int) -> Span:
        """Where one character stands in the outer view."""
        number = bisect_right(self.units, at, key=itemgetter(0)) - 1
        if number < 0:
            return at, at + 1
        here, start, end = self.units[number]
        return (start, end) if at == here else (end + at - here - 1, end + at - here)

    def undone(self, spelling: Spelling) -> "View":
        """The view with one more spelling undone."""
        parts: list[str] = []
        units: list[tuple[int, int, int]] = []
        at = length = 0
        for found in spelling.unit.finditer(self.text):
            parts.append(self.text[at : found.start()])
            length += found.start() - at
            at = found.start()
            for character, width in spelling.read(found[0]):
                parts.append(character)
                units.append((length, at, at + width))
                length += 1
                at += width
            at = found.end()
        return View("".join([*parts, self.text[at:]]), self, units)


def views(text: str) -> Iterator[View]:
    """The text as it is, and as each way to read its escapes would have it."""
    seen = {text}
    left = [View(text)]
    for _ in range(DEPTH):
        yield from left
        inner = []
        for view in left:
            for spelling in SPELLINGS.values():
                other = view.undone(spelling)
                if other.text not in seen:
                    seen.add(other.text)
                    inner.append(other)
        left = inner
    yield from left


def base64_bodies(value: bytes) -> list[str]:
    """What is in base64 wherever `value` is, once for each of the three ways that it can be aligned.

    The characters at both ends that depend on its neighbours too are left out.
    """
    bodies = []
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + value).decode()
        bodies.append(encoded[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6])
    return bodies


def windows(body: str) -> Iterator[str]:
    """The pieces by which a text in base64 is recognised, however it is wrapped or cut."""
    size = min(WINDOW, len(body))
    return (body[at : at + size] for at in range(len(body) - size + 1))


def base64_spans(view: View, known: Mapping[int, set[str]]) -> Iterator[Span]:
    """Where pieces of base64 stand that are among `known`, by their length; wrapped and URL-safe ones too."""
    joined = "".join(view.text.split()).translate(TO_STANDARD)
    found = [
        (at, at + size - 1)
        for size, pieces in known.items()
        for at in range(len(joined) - size + 1)
        if joined[at : at + size] in pieces
    ]
    kept = [at for at, character in enumerate(view.text) if not character.isspace()] if found else []
    for first, last in found:
        yield view.span(*_whole(view.text, kept[first], kept[last] + 1))


def _whole(text: str, start: int, end: int) -> Span:
    """A piece of base64 with what the value shares with its neighbours: a character at each side, and `=`."""
    start -= 1 if MIXED.match(text[start - 1 : start]) else 0
    end += 1 if MIXED.match(text[end : end + 1]) else 0
    while text[end : end + 1] == "=":
        end += 1
    return start, end


def _backslash(unit: str) -> Read:
    """An escape of JSON, Python, Go or a shell; bytes in a row are UTF-8, where they can be."""
    match unit[1]:
        case "x" if len(unit) > 2:
            return _bytes(bytes.fromhex(unit.replace("\\x", "")), 4, "latin-1")
        case "u" | "U" if len(unit) > 2:
            code = unit.encode().decode("unicode-escape").encode("utf-16", "surrogatepass")
            return [(code.decode("utf-16", "replace"), len(unit))]
    return [(CONTROLS.get(unit[1], unit[1]), len(unit))]


def _percent(unit: str) -> Read:
    if unit == "+":
        return [(" ", 1)]
    return _bytes(bytes.fromhex(unit.replace("%", "")), 3, "latin-1")


def _bytes(content: bytes, width: int, otherwise: str) -> Read:
    try:
        return [(character, width * len(character.encode())) for character in content.decode()]
    except UnicodeDecodeError:
        return [(character, width) for character in content.decode(otherwise)]


def _entity(unit: str) -> Read:
    text = html.unescape(unit)
    return [(text, len(unit))] if len(text) == 1 else [(character, 1) for character in text]


SPELLINGS: Final[dict[str, Spelling]] = {
    "backslashes": Spelling(
        re.compile(
            r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}"
            r"|(?:\\x[0-9a-fA-F]{2})+|\\(?s:.)"
        ),
        _backslash,
    ),
    "percent signs": Spelling(re.compile(r"(?:%[0-9a-fA-F]{2})+"), _percent),
    "percent signs of forms": Spelling(re.compile(r"(?:%[0-9a-fA-F]{2})+|\+"), _percent),
    "entities": Spelling(re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]+[0-9]*);"), _entity),
    "quotes of shells": Spelling(re.compile(r"""'"'"'|'\\''|'\\"'"""), lambda unit: [(unit[2], len(unit))]),
}
