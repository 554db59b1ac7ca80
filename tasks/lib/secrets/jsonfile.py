"""JSON secret files, such as service accounts' keys: their keys, and what is doubtful about one.

A file is carried byte for byte, whatever is found.  Findings name lines and keys, never a value.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.lib.secrets.dotenv import BOM, USUAL_NAME, Finding, Severity, line_ends, repeated

# A string, or what gives the text its structure; only for text that is JSON.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:]')


@dataclass(frozen=True)
class Member:
    """One member of the object, the line of its key, and whether its value is an empty text."""

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


class _Pairs(list[tuple[str, object]]):
    """An object's members in their order, repeated ones too."""


def parse(content: bytes) -> Parsed:
    """Read a JSON file that holds one object."""
    try:
        text = content.removeprefix(BOM).decode()
        held = json.loads(text, object_pairs_hook=_Pairs)
    except UnicodeDecodeError:
        return _refused(0, "not UTF-8, so not JSON")
    except json.JSONDecodeError as error:
        return _refused(error.lineno, _syntax(text, error))
    except ValueError:  # Python's own limit; JSON has none
        return _refused(0, "a number of more than 4,300 digits")
    except RecursionError:
        return _refused(0, "not JSON: it is nested too deeply")
    if not isinstance(held, _Pairs):
        return _refused(0, "JSON, but not an object")
    lines = _key_lines(text)
    members = tuple(Member(key, line, value == "") for (key, value), line in zip(held, lines, strict=True))
    findings = sorted(_doubtful(content, members), key=lambda finding: finding.line)
    return Parsed(members, tuple(findings))


def _refused(line: int, why: str) -> Parsed:
    return Parsed((), (Finding(line, why, Severity.ERROR),))


def _syntax(text: str, error: json.JSONDecodeError) -> str:
    """What was expected; the text around it stays out."""
    is_nul = text[error.pos : error.pos + 1] == "\0"
    return f"not JSON: {'a NUL byte' if is_nul else error.msg.removesuffix(' at')} at column {error.colno}"


def _key_lines(text: str) -> Iterator[int]:
    """The line of each key of the outermost object."""
    depth, before = 0, None
    for token in TOKEN.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if token[0] == ":" and depth == 1 and before:
            yield text.count("\n", 0, before.start()) + 1
        before = token


def _doubtful(content: bytes, members: tuple[Member, ...]) -> Iterator[Finding]:
    yield from line_ends(content, "they are kept")
    if content.startswith(BOM):
        mark = "begins with a byte order mark, which is kept and which few readers accept"
        yield Finding(1, mark, Severity.WARNING)
    first: dict[str, Member] = {}
    for member in members:
        if first.setdefault(member.key, member) is not member:
            yield repeated(member.shown, member.line, first[member.key].line)
        if member.is_empty:
            yield Finding(member.line, f"{member.shown} is empty", Severity.WARNING)
