"""Files that are whole or not there at all."""

import os
import tempfile
from pathlib import Path

from tasks.lib.workspace import gone


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `data` to `path` so that a reader, or a crash, finds the old file or the new one, never a part.

    Args:
        path: the file; missing parent folders are made.
        data: its new content.
        mode: its permission bits, in force before any byte is written.

    Raises:
        OSError: the folder cannot be written; `path` is as it was.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-")
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


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` that a writer left who was killed in the middle."""
    before = f".{path.name}."
    for temporary in path.parent.glob(f"{before}*-*"):
        writer = temporary.name.removeprefix(before).partition("-")[0]
        if writer.isdigit() and gone(int(writer)):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
