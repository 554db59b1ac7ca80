"""Atomic writes, locks on files, and messages for errors of the file system."""

import fcntl
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from errno import EACCES, EDQUOT, EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS
from functools import partial
from pathlib import Path

from tasks.lib import signals
from tasks.lib.errors import Failure

FULL = frozenset({ENOSPC, EDQUOT})
NOT_ALLOWED = frozenset({EACCES, EPERM, EROFS})
WRONG_TYPE = frozenset({EEXIST, ENOTDIR, EISDIR})
UNUSABLE_PATH = frozenset({ENAMETOOLONG, ELOOP})


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `data` to `path` atomically: readers, also after a crash, find the old file or the new one.

    Missing parent folders are created, private unless others may read the file. Raises OSError where the
    folder cannot be written; `path` is unchanged. Raises KeyboardInterrupt where a signal came before.
    """
    signals.check()
    make_folders(path.parent, 0o755 if mode & 0o077 else 0o700)
    temporary, held = make_held(partial(_temporary, path))
    try:
        with temporary.open("wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(held)
    _sync_folder(path.parent)


def make_folders(folder: Path, mode: int = 0o700) -> None:
    """Create `folder` and its missing parents, each with `mode`; Path.mkdir uses it for the last one only."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode, exist_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` that no process holds: their writers were killed."""
    before = f".{path.name}."
    for temporary in path.parent.glob(f"{before}*-*"):
        if temporary.name.removeprefix(before).partition("-")[0].isdigit():
            with suppress(OSError):
                held = hold(temporary)
                temporary.unlink(missing_ok=True)
                os.close(held)


def make_held(make: Callable[[], Path]) -> tuple[Path, int]:
    """Create and lock a file or folder in a place where unlocked ones are removed; returns path and lock.

    If it was removed before it was locked, another one is created.
    """
    while True:
        path = make()
        with suppress(FileNotFoundError, BlockingIOError):
            held = hold(path)
            if path.exists():
                return path, held
            os.close(held)


def hold(path: Path) -> int:
    """Lock a file or folder until the returned descriptor is closed; a BlockingIOError if it is locked."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _temporary(path: Path) -> Path:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-")
    os.close(descriptor)
    return Path(temporary)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refusal(error: OSError) -> Failure | None:
    """The message for `error`; None for errors that a user cannot fix."""
    import shlex

    place = str(error.filename) if error.filename else "a file or folder"
    why = f"{error.strerror}."
    if error.errno in FULL:
        return Failure(
            f"{place} cannot be written.",
            why,
            "Free some space (`df -h` shows where), and run the same command again.",
        )
    if error.errno in NOT_ALLOWED:
        return Failure(
            f"{place} cannot be used.", why, f"Look at its owner and mode: ls -ld {shlex.quote(place)}"
        )
    if error.errno in WRONG_TYPE:
        return Failure(f"{place} cannot be created or replaced.", why, "Move it, or choose another path.")
    if error.errno in UNUSABLE_PATH:
        return Failure(f"{place} cannot be used.", why, "Choose another path.")
    if error.errno == ENOENT and not Path(error.filename or "").is_absolute() and _current_folder_is_gone():
        return Failure(
            "The current folder no longer exists.",
            next_step="Change to another one, for example with `cd ~`, and run the same command again.",
        )
    return None


def real(path: Path) -> Path:
    """The absolute path without symbolic links, except circular ones.

    `Path.resolve` raises a RuntimeError for those before Python 3.13.
    """
    return Path(os.path.realpath(path))


def _current_folder_is_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - only asks
    except FileNotFoundError:
        return True
    return False
