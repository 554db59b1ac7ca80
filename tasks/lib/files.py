"""Files that are whole or not there at all, and what the file system refuses, in words."""

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
IN_THE_WAY = frozenset({EEXIST, ENOTDIR, EISDIR})
NO_PLACE = frozenset({ENAMETOOLONG, ELOOP})


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `data` to `path` so that a reader, or a crash, finds the old file or the new one, never a part.

    Missing parent folders are made, private unless the file is for others too.

    Raises:
        OSError: the folder cannot be written; `path` is as it was.
        KeyboardInterrupt: a signal came before this; what is written waits for the disk.

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
    """Make `folder` and those above it that are missing, each with `mode`, which Path.mkdir gives to one."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode, exist_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` that nobody holds: their writers were killed in the middle."""
    before = f".{path.name}."
    for temporary in path.parent.glob(f"{before}*-*"):
        if temporary.name.removeprefix(before).partition("-")[0].isdigit():
            with suppress(OSError):
                held = hold(temporary)
                temporary.unlink(missing_ok=True)
                os.close(held)


def make_held(make: Callable[[], Path]) -> tuple[Path, int]:
    """Make a file or folder where others remove what nobody holds; returns its path and what `hold` returned.

    Where it was removed before it was held, another one is made.
    """
    while True:
        path = make()
        with suppress(FileNotFoundError, BlockingIOError):
            held = hold(path)
            if path.exists():
                return path, held
            os.close(held)


def hold(path: Path) -> int:
    """Lock a file or folder until the descriptor that is returned is closed; else BlockingIOError."""
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
    """The message for `error`, or None where it is none of these."""
    import shlex

    place = str(error.filename) if error.filename else "a file or folder"
    why = f"{error.strerror}."
    if error.errno in FULL:
        return Failure(
            f"{place} cannot be written.", why, "Make room (df -h shows where), and run this again."
        )
    if error.errno in NOT_ALLOWED:
        return Failure(
            f"{place} cannot be used.", why, f"Look at its owner and mode: ls -ld {shlex.quote(place)}"
        )
    if error.errno in IN_THE_WAY:
        return Failure(f"{place} is in the way.", why, "Move it aside, or choose another place.")
    if error.errno in NO_PLACE:
        return Failure(f"{place} cannot be used.", why, "Choose another place.")
    if error.errno == ENOENT and not Path(error.filename or "").is_absolute() and _working_folder_is_gone():
        return Failure(
            "The folder that you stand in is no longer there.",
            next_step="Go to one that is, such as with `cd ~`, and run this again.",
        )
    return None


def real(path: Path) -> Path:
    """The absolute path without links; where these lead in a circle, that with them in it.

    `Path.resolve` raises a RuntimeError there until Python 3.13.
    """
    return Path(os.path.realpath(path))


def _working_folder_is_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - only asks
    except FileNotFoundError:
        return True
    return False
