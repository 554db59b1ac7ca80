"""A private folder for plaintext, in memory, that is removed afterwards.

It is removed on every exit that Python sees, signals included (see tasks/lib/signals.py).  The next call
removes folders that `kill -9` left behind; a reboot empties the memory.  A lock on the folder shows that it
is in use. Process numbers would not: they are reused, and containers that share the tmpfs have their own.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path

from tasks.lib.console import say
from tasks.lib.files import hold, make_held

PREFIX = "lookit-orchestrator-"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a tmpfs is required, and the folder in it is private


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty folder with mode 0700, in memory if the system has a tmpfs."""
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
    _warn_of_disk()
    return Path(tempfile.gettempdir())


@cache
def _warn_of_disk() -> None:
    """Say once per process that the system has no tmpfs, as macOS."""
    say("This system has no tmpfs: while the task runs, decrypted files are in a private folder on the disk.")


def sweep(parent: Path) -> list[Path]:
    """Remove workspaces in `parent` that no process uses; returns the removed ones."""
    removed = []
    for folder in parent.glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(OSError):  # another process uses it, or has removed it
            is_mine = folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
            if owner.isdigit() and is_mine:
                held = hold(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)
                removed.append(folder)
    return removed


def _folder_in(parent: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
