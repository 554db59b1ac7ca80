"""Env files, read by the very rules of kustomize's secretGenerator, and what is doubtful about one.

The rules (kustomize's api/kv): lines end at a line feed, one carriage return before it is dropped; a byte
order mark is dropped from the first line only; leading white space is dropped, trailing is not; an empty
line or one that begins with # is passed over; the key ends at the first =, and without = the value is empty;
quotes and $ mean nothing; a line without a key is dropped.  Findings name lines and keys, never a value.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from tasks.lib.render.kubernetes_yaml import scalar

BOM = b"\xef\xbb\xbf"
# What Go's unicode.IsSpace accepts; Python's own list is longer.
SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
# What the API server takes as a key of a Secret; kustomize itself takes anything.
NAME = re.compile(r"[-._a-zA-Z0-9]{1,253}")
# Keys that kustomize writes without quotes and then reads back as no text, which ends it: YAML's words, and
# the numbers that Go can hold.
YAML_WORD = re.compile(
    r"true|True|TRUE|false|False|FALSE|null|Null|NULL|~|<<|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
YAML_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}")
# What follows a lone carriage return and is meant as a line of its own.
NEXT_LINE = re.compile(r"\r\s*[-._a-zA-Z0-9]+=")
COMMENT = re.compile(r"\s#")
QUOTES = "'\""
# How people name keys: DB_PASSWORD or rabbitmq-password, and not MIIEvQIBADANBgkq.
USUAL_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*|[a-z][a-z0-9]*([-_.][a-z0-9]+)*")
# Go's line scanner gives up on a longer line, and kustomize then leaves out the rest of the file in silence.
LONGEST_LINE = 64 * 1024 - 1


class Weight(Enum):
    """How bad a finding is."""

    FAULT = "fault"
    DOUBT = "doubt"


@dataclass(frozen=True)
class Finding:
    """Something about one line (0: the whole file) that the owner of the file should know."""

    line: int
    text: str
    weight: Weight

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" if self.line else self.text


@dataclass(frozen=True)
class Pair:
    """One key and its value, as the container will see it; whether a `=` stood between them."""

    key: str
    value: bytes
    line: int
    has_equals: bool

    @property
    def shown(self) -> str:
        """The key for messages; one that may be a piece of a broken value is not shown."""
        is_a_name = self.has_equals and USUAL_NAME.fullmatch(self.key)
        return self.key if is_a_name else f"the key on line {self.line}"


@dataclass(frozen=True)
class Parsed:
    """An env file's pairs and what was found about them."""

    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings with which kustomize or Kubernetes refuses the file, or loses some of it."""
        return tuple(finding for finding in self.findings if finding.weight is Weight.FAULT)


def parse(content: bytes) -> Parsed:
    """Read an env file: the pairs that kustomize would make of it, and what is wrong or doubtful."""
    pairs: list[Pair] = []
    findings = list(_about_the_file(content))
    for number, line in enumerate(_lines(content), start=1):
        pair, found = _line(number, line)
        findings += found
        if pair:
            findings += _duplicates(pair, pairs)
            pairs.append(pair)
    return Parsed(tuple(pairs), tuple(sorted(findings, key=lambda finding: finding.line)))


def changed(content: bytes, key: str, value: bytes) -> bytes:
    """Return `content` with `key` set to `value`, everything else byte for byte as it was.

    Args:
        content: an env file.
        key: the key to set; it is appended where it is new.
        value: its value, on one line.

    """
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


def fault_of_key(key: str) -> str:
    """Why no line of an env file can have this key; empty for one that can."""
    if _is_no_text(key):
        return "YAML takes it for a number or a word of its own, and kustomize refuses it"
    return "" if _is_name(key) else "Kubernetes takes none that is empty, or has other characters"


def _lines(content: bytes) -> Iterator[bytes]:
    """Lines as Go's scanner gives them: without their end, and no empty one after the last line feed."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    for line in lines:
        yield line.removesuffix(b"\r")


def _line(number: int, line: bytes) -> tuple[Pair | None, list[Finding]]:
    """One line's pair, or none, and what was found."""
    if len(line) > LONGEST_LINE:
        return None, [
            Finding(number, "longer than 64 KiB: kustomize would drop it and all that follows", Weight.FAULT)
        ]
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return None, [Finding(number, f"no UTF-8 at byte {error.start + 1}", Weight.FAULT)]
    text = (text.removeprefix("\ufeff") if number == 1 else text).lstrip(SPACES)
    if not text or text.startswith("#"):
        return None, []
    key, equals, value = text.partition("=")
    if _is_no_text(key):
        return None, [
            Finding(number, "the key is a number or a word of YAML's: kustomize refuses it", Weight.FAULT)
        ]
    if not _is_name(key):
        pair = Pair(key, value.encode(), number, bool(equals)) if key else None
        return pair, [Finding(number, _misnamed(key, equals), Weight.FAULT)]
    named = Pair(key, value.encode(), number, bool(equals))
    return named, list(_about_value(named, equals, value))


def _is_name(key: str) -> bool:
    return bool(NAME.fullmatch(key)) and key != "." and not key.startswith("..")


def _is_no_text(key: str) -> bool:
    """Whether YAML takes `key` for something else than text."""
    if YAML_WORD.fullmatch(key):
        return True
    value = scalar(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number or bool(YAML_DATE.fullmatch(key))


def _misnamed(key: str, equals: str) -> str:
    """Why a line has no good key, which is never shown: it may be part of a value that broke over lines."""
    if not key:
        return "nothing before the =: kustomize drops the line"
    if not equals:
        return "no key: it looks like the rest of a value, but a value has one line"
    if key != key.rstrip() and _is_name(key.rstrip()):
        return "a space before the ="
    return "the key is none that Kubernetes takes: letters, digits, - _ and . only"


def _about_value(pair: Pair, equals: str, value: str) -> Iterator[Finding]:
    if "\0" in value:
        yield Finding(
            pair.line, f"{pair.shown} holds a NUL byte, which no environment variable can", Weight.FAULT
        )
    if NEXT_LINE.search(value):
        lost = "lines end in CR alone: kustomize takes those that follow for the same value"
        yield Finding(pair.line, f"{pair.shown}: {lost}", Weight.FAULT)
    if not equals:
        yield Finding(pair.line, f"{pair.shown} has no =, so its value is empty", Weight.DOUBT)
    elif not value:
        yield Finding(pair.line, f"{pair.shown} is empty", Weight.DOUBT)
    elif value != value.strip(SPACES):
        yield Finding(
            pair.line, f"{pair.shown} begins or ends with white space, part of the value", Weight.DOUBT
        )
    elif remark := _remark(value):
        yield Finding(pair.line, f"{pair.shown} {remark} part of the value", Weight.DOUBT)


def _remark(value: str) -> str:
    """What stands in a value that other readers of env files would take off; empty where nothing does."""
    if COMMENT.search(value):
        return "holds a # after a space: a comment there is"
    if "\r" in value:
        return "holds a carriage return,"
    begins, ends = value[0] in QUOTES, value[-1] in QUOTES
    if len(value) > 1 and begins and value[0] == value[-1]:
        return "is in quotes, which are"
    return "has a quote at one end only," if begins or ends else ""


def _duplicates(pair: Pair, pairs: list[Pair]) -> Iterator[Finding]:
    for earlier in pairs:
        if earlier.key == pair.key:
            yield Finding(
                pair.line, f"{pair.shown} again: it is on line {earlier.line} already", Weight.FAULT
            )
            return


def _about_the_file(content: bytes) -> Iterator[Finding]:
    if content.startswith(BOM):
        yield Finding(1, "begins with a byte order mark, which is dropped", Weight.DOUBT)
    yield from line_ends(content, "the CR is dropped")


def line_ends(content: bytes, outcome: str) -> Iterator[Finding]:
    """One finding for all lines of a file that end in CR LF, at the first of them."""
    numbers = [number for number, line in enumerate(content.split(b"\n")[:-1], 1) if line.endswith(b"\r")]
    if numbers:
        how_many = f" ({len(numbers)} lines do)" if len(numbers) > 1 else ""
        yield Finding(numbers[0], f"ends in CR LF{how_many}; {outcome}", Weight.DOUBT)
