"""A value that must not turn up: how it may look, and where to look for it."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.lib.redaction import Secret
from tasks.lib.secrets.guard import needles

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

    def files_below(self, folders: Iterable[Path], besides: Iterable[Path] = ()) -> list[str]:
        """The files that hold it."""
        exempt = set(besides)
        paths = [path for folder in folders for path in folder.rglob("*") if path not in exempt]
        return [
            str(path)
            for path in paths
            if path.is_file() and not path.is_symlink() and self.is_in(_bytes(path))
        ]


@dataclass
class Sightings:
    """Where a canary was seen in the lists of processes."""

    places: set[str] = field(default_factory=set)
    looks: int = 0


@contextmanager
def watched_processes(canary: Canary) -> Iterator[Sightings]:
    """Look at the arguments and the environment of every process, again and again, until the block ends."""
    seen, over = Sightings(), threading.Event()

    def look() -> None:
        while not over.wait(PAUSE):
            seen.looks += 1
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    for name in ("cmdline", "environ"):
                        if canary.is_in(_bytes(entry / name)):
                            seen.places.add(f"{name} of {_bytes(entry / 'cmdline')[:80]!r}")

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def workspaces() -> list[Path]:
    """The folders for plaintext that are there now."""
    return list(SHARED_MEMORY.glob("lookit-orchestrator-*"))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
