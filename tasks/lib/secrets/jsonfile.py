"""JSON secret files, such as service accounts' keys: their keys, and what is doubtful about one.

A file is carried byte for byte, whatever is found.  Findings name lines and keys, never a value.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.lib.secrets.dotenv import BOM, USUAL_NAME, Finding, Weight, line_ends

# A string, or what gives the text its structure; only for text that is JSON.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:]')


@dataclass(frozen=True)
class Member:
    """One member of the object, where its key stands, and whether its value is an empty text."""

    key: str
    line: int
    is_empty: bool

    @property
    def shown(self) -> str:
        """The key for messages; one that may be a piece of a value is not shown."""
        return self.key if USUAL_NAME.fullmatch(self.key) else f"the key on line {self.line}"


@dataclass(frozen=True)
class Parsed:
    """A JSON file's members, repeated ones too, and what was found about them."""

    members: tuple[Member, ...]
    findings: tuple[Finding, ...]


def parse(content: bytes) -> Parsed:
    """Read a JSON file that holds one object."""
    try:
        text = content.removeprefix(BOM).decode()
    except UnicodeDecodeError:
        return _faulty(Finding(0, "no UTF-8, so no JSON", Weight.FAULT))
    try:
        held = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        return _faulty(Finding(error.lineno, _no_json(text, error), Weight.FAULT))
    except ValueError:  # Python's own limit; JSON has none
        return _faulty(Finding(0, "a number of more than 4,300 digits", Weight.FAULT))
    except RecursionError:
        return _faulty(Finding(0, "no JSON: it is nested too deep", Weight.FAULT))
    if not isinstance(held, _Pairs):
        return _faulty(Finding(0, "a JSON value, but no object", Weight.FAULT))
    lines = _key_lines(text)
    members = tuple(Member(key, line, value == "") for (key, value), line in zip(held, lines, strict=True))
    findings = [*line_ends(content, "they stay"), *_about_bom(content), *_about_members(members)]
    return Parsed(members, tuple(sorted(findings, key=lambda finding: finding.line)))


class _Pairs(list[tuple[str, object]]):
    """An object's members in their order, repeated ones too."""


def _faulty(finding: Finding) -> Parsed:
    return Parsed((), (finding,))


def _no_json(text: str, error: json.JSONDecodeError) -> str:
    """What was awaited; the text around it stays out."""
    if text[error.pos : error.pos + 1] == "\0":
        return f"no JSON: a NUL byte at column {error.colno}"
    return f"no JSON: {error.msg.removesuffix(' at')} at column {error.colno}"


def _key_lines(text: str) -> Iterator[int]:
    """The line of each key of the outermost object."""
    depth, before = 0, None
    for token in TOKEN.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if token[0] == ":" and depth == 1 and before:
            yield text.count("\n", 0, before.start()) + 1
        before = token


def _about_bom(content: bytes) -> Iterator[Finding]:
    if content.startswith(BOM):
        yield Finding(
            1, "begins with a byte order mark, which stays, and which few readers take", Weight.DOUBT
        )


def _about_members(members: tuple[Member, ...]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for member in members:
        if member.key in first:
            text = f"{member.shown} again: it is on line {first[member.key]} already, and the last one counts"
            yield Finding(member.line, text, Weight.FAULT)
        first.setdefault(member.key, member.line)
        if member.is_empty:
            yield Finding(member.line, f"{member.shown} is empty", Weight.DOUBT)
