"""Encodings of a text in a program's output, and where the text is in that output.

Escapes are decoded: there are many ways to escape a text for a URL, and one to decode it.  Base64 and
hexadecimal digits are recognised by pieces, since they may be wrapped, cut or part of something longer.
"""

import base64
import html
import re
import string
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

# Escapes within escapes: JSON that a log of JSON quotes, which an event quotes.
DEPTH: Final = 3
# Six bytes in a row do not match another text by chance: in base64, and in hexadecimal digits.
WINDOW, HEX_WINDOW = 8, 12
# Of longer values, such as an archive in a Secret, only some pieces are kept: one in any 47 characters.
LARGE: Final = 16 * 1024
SPARSE, STEP = 16, 32
CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
TO_STANDARD: Final = str.maketrans("-_", "+/")
ALPHABET: Final = string.ascii_letters + string.digits + "+/-_"
# The meaning of an escape: characters, each with its length in the text.
Read = Sequence[tuple[str, int]]
Span = tuple[int, int]


@dataclass(frozen=True)
class Spelling:
    """A way to escape characters: the pattern of an escape, and how it is decoded."""

    unit: "re.Pattern[str]"
    read: Callable[[str], Read]


@dataclass(frozen=True)
class View:
    """A text with one kind of escapes decoded; without `outer`, the original text."""

    text: str
    outer: "View | None" = None
    # For each escaped character: its place in `text`, and its start and end in `outer`.
    units: Sequence[tuple[int, int, int]] = ()

    def span(self, start: int, end: int) -> Span:
        """Where a part of the view is in the original text."""
        if self.outer is None:
            return start, end
        return self.outer.span(self._outside(start)[0], self._outside(end - 1)[1])

    def _outside(self, at: int) -> Span:
        """Where one character is in the outer view."""
        number = bisect_right(self.units, at, key=itemgetter(0)) - 1
        if number < 0:
            return at, at + 1
        here, start, end = self.units[number]
        return (start, end) if at == here else (end + at - here - 1, end + at - here)

    def undone(self, spelling: Spelling) -> "View":
        """The view with one more kind of escapes decoded."""
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
    """The text itself, and the text with its escapes decoded in each way."""
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
    """The base64 of `value` inside longer data, for each of its three alignments.

    The characters at both ends that also depend on neighbouring bytes are left out.
    """
    bodies = []
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + value).decode()
        bodies.append(encoded[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6])
    return bodies


def encoded_pieces(value: bytes) -> Iterator[list[str]]:
    """The pieces that identify a value in base64 or hexadecimal digits, in lists of pieces of one length."""
    for body in base64_bodies(value):
        yield windows(body)
    for digits in (value.hex(), value.hex().upper()):
        yield windows(digits, HEX_WINDOW, step=2)  # a byte has two digits


def windows(body: str, size: int = WINDOW, step: int = 1) -> list[str]:
    """The pieces, all of one length, that identify an encoded text even if it is wrapped or cut."""
    size, step = (SPARSE, STEP) if len(body) > LARGE else (min(size, len(body)), step)
    return [body[at : at + size] for at in range(0, len(body) - size + 1, step)]


def encoded_spans(view: View, known: Mapping[int, set[str]]) -> Iterator[Span]:
    """Where pieces in `known` (by length) are, including wrapped and URL-safe ones."""
    joined = "".join(view.text.split()).translate(TO_STANDARD)
    found = [
        (at, at + size - 1)
        for size, pieces in known.items()
        for at in range(len(joined) - size + 1)
        if joined[at : at + size] in pieces
    ]
    kept = [at for at, character in enumerate(view.text) if not character.isspace()] if found else []
    for first, last in found:
        # A value shares characters of base64 with its neighbours; of a long one not every piece is known.
        reach = SPARSE + STEP if last - first + 1 == SPARSE else 1
        yield view.span(*_widened(view.text, kept[first], kept[last] + 1, reach))


def _widened(text: str, start: int, end: int, reach: int) -> Span:
    """A piece with at most `reach` more characters of base64 at each side, and `=`."""
    before, after = text[max(start - reach, 0) : start], text[end : end + reach]
    start -= len(before) - len(before.rstrip(ALPHABET))
    end += len(after) - len(after.lstrip(ALPHABET))
    padding = text[end : end + 2]
    return start, end + len(padding) - len(padding.lstrip("="))


def _backslash(unit: str) -> Read:
    """An escape of JSON, Python, Go or a shell; a row of bytes is read as UTF-8 if it is valid."""
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
