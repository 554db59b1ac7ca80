"""A value that must not turn up: how it may look, and where to look for it."""

import base64
import html
import json
import os
import shlex
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from tasks.lib.printable import printable
from tasks.lib.redaction import Public, Secret
from tasks.lib.secrets.leak_check import needles
from tests.builders import ROOT

SHARED_MEMORY = Path("/dev/shm")
# What a Python program starts is noted, however soon it ends; this is for what other programs start.
PAUSE = 0.02


@dataclass(frozen=True)
class Canary:
    """The value, and every form of it that is looked for: as it is, and in base64 however aligned."""

    value: str
    forms: tuple[bytes, ...] = field(init=False)
    _clean: dict[str, tuple[int, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        found = needles({"canary.env": Secret(f"SECRET={self.value}".encode())}, Public())
        object.__setattr__(self, "forms", tuple(needle.text.reveal() for needle in found))

    def is_in(self, content: bytes) -> bool:
        return any(form in content for form in self.forms)

    def files_below(self, places: Iterable[Path], besides: Iterable[Path] = ()) -> list[str]:
        """The files that hold it, or are called after it: those of `places`, and all in folders among them."""
        exempt = {str(path) for path in besides}
        return [
            path
            for path in _below(places)
            if path not in exempt and (self.value in path.rpartition("/")[2] or self._holds(path))
        ]

    def _holds(self, path: str) -> bool:
        """Whether a file holds it; one that did not, and was not written to since, is not read again."""
        try:
            seen = os.lstat(path)
        except OSError:
            return False
        written = (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        if not stat.S_ISREG(seen.st_mode) or self._clean.get(path) == written:
            return False
        if self.is_in(_bytes(path)):
            return True
        self._clean[path] = written
        return False


@dataclass
class Sightings:
    """Where a canary was seen in the lists of processes."""

    places: set[str] = field(default_factory=set)
    looks: int = 0


@contextmanager
def watched_processes(canary: Canary) -> Iterator[Sightings]:
    """Look at the arguments and the environment of every process, again and again, until the block ends.

    Those that run already are passed over: both are given to a program when it starts.  So a process that is still
    the same program was looked at.
    """
    seen, over = Sightings(), threading.Event()
    before = _processes()
    known: dict[str, bytes] = {}

    def look() -> None:
        while True:
            seen.looks += 1
            for number in _processes() - before:
                command = _bytes(f"/proc/{number}/cmdline")
                if known.get(number) != command:
                    known[number] = command
                    seen.places.update(_places_in(canary, f"/proc/{number}"))
            if over.wait(PAUSE):
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


AUDITED = ROOT / "tests" / "data" / "audited"


def audited(log: Path) -> dict[str, str]:
    """Variables with which a Python program notes in `log` every program that it starts."""
    return {"PYTHONPATH": str(AUDITED), "AUDIT_LOG": str(log)}


STARTS = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn"})
_noted_in: list[Path] = []


@contextmanager
def noting_starts(log: Path) -> Iterator[None]:
    """Note in `log` every program that this process starts, until the block ends."""
    _listen()
    _noted_in.append(log)
    try:
        yield
    finally:
        _noted_in.remove(log)


@cache
def _listen() -> None:
    """Python forgets no such hook, so there is one."""
    sys.addaudithook(_note)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in STARTS and _noted_in:
        *command, environment = arguments
        with _noted_in[-1].open("a", errors="surrogateescape") as log:
            log.write(f"{event} {command!r} {dict(environment or os.environ)!r}\n")


def started_with(canary: Canary, log: Path) -> list[str]:
    """The programs that were started with a canary among their arguments or in their environment."""
    lines = _bytes(log).splitlines()
    assert lines, "nothing was noted: is the hook in place?"
    return [line.decode(errors="replace")[:80] for line in lines if canary.is_in(line)]


def _places_in(canary: Canary, process: str) -> list[str]:
    """Where a process has it: `cmdline of …`, `environ of …`.

    What it is called is asked before and after: it may become another program, or end, between two looks.
    """
    before, environ, after = (_bytes(f"{process}/{name}") for name in ("cmdline", "environ", "cmdline"))
    found = {"cmdline": canary.is_in(before) or canary.is_in(after), "environ": canary.is_in(environ)}
    return [f"{name} of {(after or before)[:80]!r}" for name, is_there in found.items() if is_there]


def _below(places: Iterable[Path]) -> Iterator[str]:
    """`places` and all in folders among them.  What goes meanwhile is left out: others use these folders too."""
    for place in map(str, places):
        yield place
        for folder, folders, files in os.walk(place):
            yield from (f"{folder}/{name}" for name in (*folders, *files))


def _processes() -> set[str]:
    return {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - fifty times a second


def unique(name: str) -> Canary:
    """A canary that no other process of this run looks for, so that what one test shows is no sighting of another."""
    # Put together here, because `secrets.check` looks for the value in every committed file, this one too.
    return Canary("-".join(("canary", name, str(os.getpid()), "never", "to", "be", "seen")))


def outputs() -> list[Path]:
    """Where a task might leave something without being told to: shared memory, and its own checkout.

    Hidden folders there are nobody's output: programs, caches, git's objects, and the sandbox, whose etcd and KMS hold
    what they are there to hold.
    """
    return [*(path for path in ROOT.iterdir() if path.is_file() or path.name[0] != "."), SHARED_MEMORY]


def workspaces() -> list[Path]:
    """The folders for plaintext that are there now."""
    return list(SHARED_MEMORY.glob("lookit-orchestrator-*"))


def _bytes(path: Path | str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - most are of /proc, fifty times a second
            return file.readall()
    except OSError:
        return b""


@dataclass(frozen=True)
class Form:
    """How programs print a value, and which of redaction's masks knows it: one of SPELLINGS, or another by name."""

    spell: Callable[[str], str]
    mask: str


def go_json(text: str) -> str:
    """As Go's encoding/json escapes by default."""
    found = json.dumps(text, ensure_ascii=False)[1:-1]
    for character in "<>&\u2028\u2029":
        found = found.replace(character, f"\\u{ord(character):04x}")
    return found


def in_base64(text: str, before: str = "", after: str = "", width: int = 0) -> str:
    encoded = base64.b64encode(f"{before}{text}{after}".encode()).decode()
    width = width or len(encoded)
    return "\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))


def coloured(text: str) -> str:
    """Broken by what a terminal does not show."""
    middle = len(text) // 2
    return f"{text[:middle]}\x1b[31m\x1b]0;title\x07{text[middle:-1]}\u200b{text[-1]}"


FORMS: dict[str, Form] = {
    "as it is": Form(str, "values"),
    "broken by control sequences": Form(coloured, "control sequences"),
    "cut short": Form(lambda text: text[: len(text) * 2 // 3] + "…", "cut"),
    "JSON of Python": Form(lambda text: json.dumps(text)[1:-1], "backslashes"),
    "JSON of Go": Form(go_json, "backslashes"),
    "JSON within JSON": Form(lambda text: json.dumps(json.dumps({"a": text})), "backslashes"),
    "repr of Python": Form(repr, "backslashes"),
    "repr of bytes": Form(lambda text: repr(text.encode()), "backslashes"),
    "quoted by printf of a shell": Form(lambda text: "".join(c if c.isalnum() else f"\\{c}" for c in text), "backslashes"),
    "quoted by a shell": Form(shlex.quote, "quotes of shells"),
    "traced by a shell": Form(lambda text: text.replace("'", "'\\''"), "quotes of shells"),
    "URL": Form(lambda text: quote(text, safe=""), "percent signs"),
    "path of a URL": Form(lambda text: quote(text, safe="/:@&=$,"), "percent signs"),
    "URL in small letters": Form(lambda text: "".join(f"%{b:02x}" for b in text.encode()), "percent signs"),
    "form of a URL": Form(quote_plus, "percent signs of forms"),
    "HTML of Python": Form(html.escape, "entities"),
    "HTML of Go": Form(
        lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;").replace("+", "&#43;"),
        "entities",
    ),
    "base64": Form(in_base64, "encodings"),
    "base64 after one letter": Form(lambda text: in_base64(text, "x", "yz"), "encodings"),
    "base64 after two letters": Form(lambda text: in_base64(text, "xy", "z"), "encodings"),
    "basic authentication": Form(lambda text: f"Basic {in_base64(text, 'admin:')}", "encodings"),
    "URL-safe base64": Form(
        lambda text: base64.urlsafe_b64encode(f"??>{text}??>".encode()).decode().rstrip("="), "encodings"
    ),
    "wrapped base64": Form(lambda text: in_base64(f"{text} {text} {text}", "some", width=16), "encodings"),
    "base64 in a URL": Form(lambda text: quote(in_base64(text, "xy"), safe=""), "encodings"),
    "hexadecimal": Form(lambda text: text.encode().hex(), "encodings"),
    "hexadecimal in capitals": Form(lambda text: f"0x{text.encode().hex().upper()}", "encodings"),
    "hexadecimal pairs": Form(lambda text: text.encode().hex(" "), "encodings"),
}  # fmt: skip


def pieces(printed: str) -> list[str]:
    """What of a printed value must not be shown: each line, without what programs put around it."""
    return [line.strip("\"' =…") for line in printed.removeprefix("Basic ").splitlines()]


def is_shown(printed: str, text: str) -> bool:
    """Whether a piece of what was printed is in a text; others are too short to be told from anything else."""
    found = [*pieces(printed), *pieces(printable(printed))]
    return any(piece in text for piece in found if len(piece) >= 12)
