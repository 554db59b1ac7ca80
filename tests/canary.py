"""A value that must not turn up: how it may look, and where to look for it."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.lib.redaction import Secret
from tasks.lib.secrets.guard import needles
from tests.builders import ROOT

SHARED_MEMORY = Path("/dev/shm")
PAUSE = 0.005


@dataclass(frozen=True)
class Canary:
    """The value, and every form of it that is looked for: as it is, and in base64 however aligned."""

    value: str
    forms: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = needles({"canary.env": Secret(f"CANARY={self.value}".encode())})
        object.__setattr__(self, "forms", tuple(needle.text.reveal() for needle in found))

    def is_in(self, content: bytes) -> bool:
        return any(form in content for form in self.forms)

    def files_below(self, places: Iterable[Path], besides: Iterable[Path] = ()) -> list[str]:
        """The files that hold it, or are called after it: those of `places`, and all in folders among them."""
        exempt = set(besides)
        return [
            str(path)
            for path in _below(places)
            if path not in exempt
            and (
                self.value in path.name
                or (path.is_file() and not path.is_symlink() and self.is_in(_bytes(path)))
            )
        ]


@dataclass
class Sightings:
    """Where a canary was seen in the lists of processes."""

    places: set[str] = field(default_factory=set)
    looks: int = 0


@contextmanager
def watched_processes(canary: Canary) -> Iterator[Sightings]:
    """Look at the arguments and the environment of every process, again and again, until the block ends.

    Those that run already are passed over: both are given to a program when it starts.
    """
    seen, over = Sightings(), threading.Event()
    before = _processes()

    def look() -> None:
        while not over.wait(PAUSE):
            seen.looks += 1
            for number in _processes() - before:
                seen.places.update(_places_in(canary, Path("/proc", number)))

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


def started_with(canary: Canary, log: Path) -> list[str]:
    """The programs that were started with a canary among their arguments or in their environment."""
    lines = _bytes(log).splitlines()
    assert lines, "nothing was noted: is the hook in place?"
    return [line.decode(errors="replace")[:80] for line in lines if canary.is_in(line)]


def _places_in(canary: Canary, process: Path) -> list[str]:
    """Where a process has it: `cmdline of …`, `environ of …`.

    What it is called is asked before and after: it may become another program, or end, between two looks.
    """
    before, environ, after = (_bytes(process / name) for name in ("cmdline", "environ", "cmdline"))
    found = {"cmdline": canary.is_in(before) or canary.is_in(after), "environ": canary.is_in(environ)}
    return [f"{name} of {(after or before)[:80]!r}" for name, is_there in found.items() if is_there]


def _below(places: Iterable[Path]) -> Iterator[Path]:
    """`places` and all in folders among them.  What goes meanwhile is left out: others use these folders too."""
    for place in places:
        yield place
        for folder, folders, files in os.walk(place):
            yield from (Path(folder, name) for name in (*folders, *files))


def _processes() -> set[str]:
    return {entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()}


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


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
