"""Env files, read by the rules of kustomize's secretGenerator, and what is wrong or doubtful about one.

The rules (kustomize's api/kv): lines end at a line feed, one carriage return before it is dropped; a byte
order mark is dropped from the first line only; leading white space is dropped, trailing is not; an empty
line or one that begins with # is skipped; the key ends at the first =, and without = the value is empty;
quotes and $ mean nothing; a line without a key is dropped.  Findings name lines and keys, never a value.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tasks.lib.kubernetes_yaml import scalar

BOM = b"\xef\xbb\xbf"
# What Go's unicode.IsSpace accepts; Python's own list is longer.
SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
# What the API server takes as a key of a Secret; kustomize itself takes anything.
NAME = re.compile(r"(?!\.\.|\.$)[-._a-zA-Z0-9]{1,253}")
# Keys that kustomize writes without quotes and then reads back as something else than text, which ends it:
# YAML's keywords and dates, and the numbers that Go can hold.
YAML_KEYWORD = re.compile(
    r"true|True|TRUE|false|False|FALSE|null|Null|NULL|~|<<|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
)
# What follows a lone carriage return and is meant as a line of its own.
NEXT_LINE = re.compile(r"\r\s*[-._a-zA-Z0-9]+=")
COMMENT = re.compile(r"\s#")
QUOTES = "'\""
# How people name keys: DB_PASSWORD or rabbitmq-password, and not MIIEvQIBADANBgkq.
USUAL_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*|[a-z][a-z0-9]*([-_.][a-z0-9]+)*")
# Go's line scanner stops at a longer line, and kustomize then silently leaves out the rest of the file.
LONGEST_LINE = 64 * 1024 - 1


class Severity(Enum):
    """Whether kustomize or Kubernetes refuses the file or loses some of it, or a person should look at it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """Something about one line (0: the whole file) that the owner of the file should know."""

    line: int
    text: str
    severity: Severity

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" if self.line else self.text


@dataclass(frozen=True)
class Pair:
    """One key of a secret file and its value, as the container will see it."""

    key: str
    value: bytes = field(repr=False)
    line: int  # 0 for what has no line
    has_equals: bool = True  # whether a `=` stood between them, in an env file

    @property
    def shown(self) -> str:
        """The key for messages; one that may be a piece of a broken value is not shown."""
        is_a_name = not self.line or (self.has_equals and USUAL_NAME.fullmatch(self.key))
        return self.key if is_a_name else f"the key on line {self.line}"


@dataclass(frozen=True)
class Parsed:
    """A secret file's pairs, repeated keys too, and what was found about them, in the order of its lines."""

    pairs: Sequence[Pair] = ()
    findings: Sequence[Finding] = ()

    @property
    def shown(self) -> dict[str, str]:
        """Each key with how messages may show it."""
        return {pair.key: pair.shown for pair in self.pairs}

    @property
    def errors(self) -> list[Finding]:
        """What kustomize or Kubernetes would refuse."""
        return [finding for finding in self.findings if finding.severity is Severity.ERROR]


def in_order(pairs: Sequence[Pair], findings: Iterable[Finding]) -> Parsed:
    """A file's pairs, and its findings in the order of its lines."""
    return Parsed(pairs, sorted(findings, key=lambda finding: finding.line))


def parse(content: bytes) -> Parsed:
    """Read an env file: the pairs that kustomize would make of it, and what is wrong or doubtful."""
    pairs: list[Pair] = []
    first: dict[str, int] = {}
    mark = Finding(1, "begins with a byte order mark, which is dropped", Severity.WARNING)
    findings = [*([mark] if content.startswith(BOM) else []), *line_ends(content, "the CR is dropped")]
    for number, line in enumerate(_lines(content), start=1):
        pair, found = _line(number, line)
        findings += found
        if pair:
            if first.setdefault(pair.key, number) != number:
                findings.append(repeated(pair.shown, number, first[pair.key]))
            pairs.append(pair)
    return in_order(pairs, findings)


def changed(content: bytes, key: str, value: bytes) -> bytes:
    """Return `content` with `key` set to `value`, or appended; everything else byte for byte as it was."""
    ending = b"\r\n" if b"\r\n" in content else b"\n"
    existing = next((pair for pair in parse(content).pairs if pair.key == key), None)
    written = key.encode() + b"=" + value
    if existing is None:
        gap = b"" if not content or content.endswith(b"\n") else ending
        return content + gap + written + ending
    lines = content.split(b"\n")
    index = existing.line - 1
    kept = BOM if index == 0 and lines[0].startswith(BOM) else b""
    tail = b"\r" if lines[index].endswith(b"\r") else b""
    lines[index] = kept + written + tail
    return b"\n".join(lines)


def problem_of_key(key: str) -> str:
    """Why no line of an env file can have this key; empty for one that can."""
    if not _is_text(key):
        return "YAML reads it as a number or keyword, and kustomize refuses it"
    return "" if NAME.fullmatch(key) else "Kubernetes accepts no empty key and no other characters"


def repeated(shown: str, line: int, first: int) -> Finding:
    """The finding about a key that is on an earlier line already."""
    return Finding(line, f"{shown} is there twice: it is on line {first} already", Severity.ERROR)


def line_ends(content: bytes, outcome: str) -> Iterator[Finding]:
    """One finding for all lines of a file that end in CR LF, at the first of them."""
    numbers = [number for number, line in enumerate(content.split(b"\n")[:-1], 1) if line.endswith(b"\r")]
    if numbers:
        how_many = f" ({len(numbers)} lines do)" if len(numbers) > 1 else ""
        yield Finding(numbers[0], f"ends in CR LF{how_many}; {outcome}", Severity.WARNING)


def _lines(content: bytes) -> Iterator[bytes]:
    """Lines as Go's scanner gives them: without their end, and no empty one after the last line feed."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return (line.removesuffix(b"\r") for line in lines)


def _line(number: int, line: bytes) -> tuple[Pair | None, list[Finding]]:
    """One line's pair, if it has one, and what was found."""
    if len(line) > LONGEST_LINE:
        dropped = "longer than 64 KiB: kustomize would drop it and the rest of the file"
        return None, [Finding(number, dropped, Severity.ERROR)]
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return None, [Finding(number, f"not UTF-8 at byte {error.start + 1}", Severity.ERROR)]
    text = (text.removeprefix("\ufeff") if number == 1 else text).lstrip(SPACES)
    if not text or text.startswith("#"):
        return None, []
    key, equals, value = text.partition("=")
    pair = Pair(key, value.encode(), number, bool(equals))
    if not _is_text(key):
        refused = "YAML reads the key as a number or keyword: kustomize refuses it"
        return None, [Finding(number, refused, Severity.ERROR)]
    if not NAME.fullmatch(key):
        return pair if key else None, [Finding(number, _misnamed(key, equals), Severity.ERROR)]
    return pair, list(_about_value(pair, value))


def _is_text(key: str) -> bool:
    """Whether YAML reads `key`, without quotes, as text."""
    if YAML_KEYWORD.fullmatch(key):
        return False
    value = scalar(key)
    return isinstance(value, bool) or not isinstance(value, int | float)


def _misnamed(key: str, equals: str) -> str:
    """Why a line has no good key, which is never shown: it may be part of a value that broke over lines."""
    if not key:
        return "no key before the =: kustomize drops the line"
    if not equals:
        return "no key: it looks like the rest of a value, but a value has one line"
    if NAME.fullmatch(key.rstrip()):
        return "a space before the ="
    return "Kubernetes does not accept the key: only letters, digits, - _ and ."


def _about_value(pair: Pair, value: str) -> Iterator[Finding]:
    if "\0" in value:
        nul = f"{pair.shown} contains a NUL byte, which an environment variable cannot"
        yield Finding(pair.line, nul, Severity.ERROR)
    if NEXT_LINE.search(value):
        lost = f"{pair.shown}: lines end in CR alone, so kustomize reads the next ones as part of this value"
        yield Finding(pair.line, lost, Severity.ERROR)
    if remark := _remark(pair, value):
        yield Finding(pair.line, f"{pair.shown} {remark}", Severity.WARNING)


def _remark(pair: Pair, value: str) -> str:
    """What is doubtful about a value, such as what other readers of env files would take off."""
    if not value:
        return "is empty" if pair.has_equals else "has no =, so its value is empty"
    if value != value.strip(SPACES):
        return "begins or ends with white space, which is part of the value"
    if COMMENT.search(value):
        return "has a # after a space: the comment is part of the value"
    if "\r" in value:
        return "contains a carriage return, which is part of the value"
    begins, ends = value[0] in QUOTES, value[-1] in QUOTES
    if len(value) > 1 and begins and value[0] == value[-1]:
        return "is in quotes, which are part of the value"
    return "has a quote at one end only, which is part of the value" if begins or ends else ""
