"""A folder for plaintext: in memory, private, and gone afterwards.

It is removed on every exit that Python sees, signals included (see tasks/lib/signals.py).  What only
`kill -9` or a crash of the machine leaves behind is removed by the next call; a reboot empties it anyway.
Whoever uses a folder holds a lock on it.  Process numbers say nothing: they are given out again, and those of
other containers, which may share the tmpfs, mean other processes.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tasks.lib.files import hold, make_held

PREFIX = "lookit-orchestrator-"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a tmpfs is the point, and the folder in it is private


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty folder with mode 0700 that lies in memory where the system has a tmpfs."""
    parent = memory_folder()
    sweep(parent)
    folder, held = make_held(partial(_folder_in, parent))
    try:
        yield folder
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
        os.close(held)


def memory_folder() -> Path:
    """The first writable folder of: /dev/shm, $XDG_RUNTIME_DIR (both tmpfs), the temporary folder."""
    candidates = [SHARED_MEMORY, Path(os.environ.get("XDG_RUNTIME_DIR") or SHARED_MEMORY)]
    for candidate in candidates:
        if candidate.is_dir() and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    return Path(tempfile.gettempdir())


def sweep(parent: Path) -> list[Path]:
    """Remove workspaces in `parent` that no process holds; returns those removed."""
    removed = []
    for folder in parent.glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(OSError):  # somebody holds it, or has removed it meanwhile
            if owner.isdigit() and _is_mine(folder):
                held = hold(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)
                removed.append(folder)
    return removed


def _folder_in(parent: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))


def _is_mine(folder: Path) -> bool:
    return folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
