"""Files that are whole or not there at all."""

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tasks.lib import signals


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `data` to `path` so that a reader, or a crash, finds the old file or the new one, never a part.

    Args:
        path: the file; missing parent folders are made, private unless the file is for others too.
        data: its new content.
        mode: its permission bits, in force before any byte is written.

    Raises:
        OSError: the folder cannot be written; `path` is as it was.
        KeyboardInterrupt: a signal came before this; what is written waits for the disk.

    """
    signals.check()
    make_folders(path.parent, 0o755 if mode & 0o077 else 0o700)
    descriptor, temporary = _temporary(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 - Path.replace reads as if `path` were the source
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
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
            with suppress(OSError), temporary.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> tuple[int, str]:
    """A new file beside `path`, held by a lock; another one where `remove_leftovers` took it before that."""
    while True:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
