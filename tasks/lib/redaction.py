"""Secrets as a type whose values are not printed, and a Redactor that replaces values in text.

tasks/lib/secrets/sensitive.py decides which values are secret.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from tasks.lib.errors import Failure
from tasks.lib.printable import clipped, one_line, printable
from tasks.lib.spellings import Span, View, encoded_pieces, encoded_spans, views, windows

REDACTED: Final = "[redacted]"
# Masking shorter values ("1", "true", "admin") would hide half of any log.
SHORTEST: Final = 6
# Marks of a text that was cut, perhaps within a value.
CUT: Final = re.compile(r"…|\.\.\.")
# Names of objects, projects and so on, which are not secret if they are public elsewhere.
WORD: Final = r"(?:[a-z]+[0-9]{0,2}|[0-9]{1,12})"
NAME: Final = re.compile(rf"{WORD}(?:[-._]{WORD})*")
# Values that are not secret unless their key sounds so: a word, two such as `service_account`, a host.
HOST: Final = rf"{WORD}(?:-{WORD})*(?:\.{WORD}(?:-{WORD})*)+"
ORDINARY: Final = re.compile(
    r"[a-z]{1,16}[0-9]{0,2}(?:_[a-z]{1,16})?"
    rf"|{HOST}(?::[0-9]{{1,5}})?|https?://(?:{HOST}|{WORD})(?::[0-9]{{1,5}})?/?"
)
# These represent bytes that are not UTF-8.
HALVES: Final = re.compile("[\ud800-\udfff]")
SECRET_KEY: Final = re.compile(
    r"pass|pwd|pin|secret|key|token|cookie|hash|salt|cred|auth|private|dsn|cert", re.IGNORECASE
)
# These lines are the same around all keys.
PEM_BOUNDARY: Final = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]+-----")


class Secret:
    """Bytes that print as `[redacted]` wherever they are formatted or logged.

    `reveal()` returns the bytes; the name makes every use easy to find.
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


@dataclass(frozen=True)
class Public:
    """Values in secret files that are not secret."""

    keys: frozenset[str] = frozenset()  # keys whose values are names and addresses
    names: str = ""  # public text, such as settings and names of objects

    def naming(self, names: Iterable[str]) -> "Public":
        """The same with more names."""
        return replace(self, names="\n".join([self.names, *names]))

    def covers(self, key: str, value: str) -> bool:
        """Whether the value of `key`, which may be empty for an unknown one, is not secret.

        That is a word or a host whose key does not sound secret, or a name that is public anyway: masking
        that in other names would reveal it.
        """
        if key in self.keys:
            return True
        if key and not SECRET_KEY.search(key) and ORDINARY.fullmatch(value):
            return True
        is_name = NAME.fullmatch(value)
        return bool(is_name and re.search(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", self.names))


def as_bytes(value: str) -> bytes:
    """The bytes of a value that was read with `surrogateescape`, or that has half of a surrogate pair."""
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return value.encode(errors="surrogatepass")


class Redactor:
    """Replaces secret values in all output of a run: logs, errors, plans, reports, notifications.

    One object serves a whole run and learns values as they become known; `public` says which are not secret.
    """

    def __init__(self, values: Iterable[str] = (), public: Public | None = None) -> None:
        self.public = public or Public()
        self._by_start: dict[str, list[str]] = {}
        self._encoded: dict[int, set[str]] = {}
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """Replace these values from now on, except those that are too short."""
        for value in values:
            shown = HALVES.sub("\ufffd", printable(value)).strip()
            alike = self._by_start.get(shown[:SHORTEST], [])
            if len(shown) >= SHORTEST and shown not in alike:
                self._by_start[shown[:SHORTEST]] = [*alike, shown]
                for pieces in _encoded_pieces(value.strip()):
                    self._encoded.setdefault(len(pieces[0]), set()).update(pieces)

    def text(self, text: str) -> str:
        """`text` without control sequences, and with `[redacted]` for each value in any encoding."""
        text = printable(text)
        if not self._by_start:
            return text
        shown, at = [], 0
        for start, end in _merged(span for view in views(text) for span in self._spans(view)):
            shown += [text[at:start], REDACTED]
            at = end
        return "".join([*shown, text[at:]])

    def line(self, text: str) -> str:
        """The same on one line."""
        return one_line(self.text(text))

    def tree(self, value: Any) -> Any:
        """A value from JSON or YAML, with `[redacted]` for each secret in its strings."""
        if isinstance(value, Mapping):
            return {key: self.tree(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Redact a failure that is raised inside, as it may quote logs; shorten its long lines.

        The original is not kept as its cause, so that no traceback shows it.
        """
        try:
            yield
        except Failure as failure:
            why = "\n".join(map(clipped, self.text(failure.why).splitlines()))
            what, next_step = self.line(failure.what), self.text(failure.next_step)
            raise failure.retold(what=what, why=why, next_step=next_step) from None

    def _spans(self, view: View) -> Iterator[Span]:
        text = view.text
        for at in range(len(text) - SHORTEST + 1):
            for value in self._by_start.get(text[at : at + SHORTEST], ()):
                if text.startswith(value, at):
                    yield view.span(at, at + len(value))
                elif end := _cut_end(text, at, value):
                    yield view.span(at, end)
        yield from encoded_spans(view, self._encoded)


def _cut_end(text: str, at: int, value: str) -> int:
    """Where a value that begins at `at` was cut; 0 if it was not, or is another text."""
    cuts = CUT.finditer(text, at + SHORTEST, at + len(value) + 2)
    return next((cut.start() for cut in cuts if value.startswith(text[at : cut.start()])), 0)


def _encoded_pieces(value: str) -> Iterator[list[str]]:
    parts = [part.strip() for part in PEM_BOUNDARY.split(value)]
    for part in parts:
        yield from encoded_pieces(as_bytes(part)) if len(part) >= SHORTEST else ()
    for part in parts[1::2]:  # PEM's content is base64 itself, and may be wrapped differently
        yield windows("".join(part.split()))


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans in order, with those that overlap or touch as one."""
    begun: Span | None = None
    for start, end in sorted(spans):
        if begun and start <= begun[1]:
            begun = begun[0], max(begun[1], end)
            continue
        if begun:
            yield begun
        begun = start, end
    if begun:
        yield begun
