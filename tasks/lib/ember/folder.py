"""A folder of files, read as an archive."""

import io
import os
import stat
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from tasks.lib.ember.member import FILE, FOLDER, Member, Opener

KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Folder:
    """The files below `root`; links are members of their own kind and never followed."""

    errors: tuple[type[Exception], ...] = (OSError,)
    independent = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def members(self) -> Iterator[Member]:
        """Every entry below the root, by name, a folder before what it holds."""
        return self._walk("")

    def contents(self, members: Iterable[Member]) -> Iterator[tuple[Member, Opener]]:
        """Files in the order they are asked for."""
        return ((member, partial(self.open, member)) for member in members)

    def open(self, member: Member) -> IO[bytes]:
        """Open one file; a link put in its place meanwhile is not followed."""
        descriptor = os.open(f"{self._root}/{member.name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return io.FileIO(descriptor)  # it owns the descriptor

    def close(self) -> None:
        """Nothing is held open."""

    def _walk(self, folder: str) -> Iterator[Member]:
        with os.scandir(self._root / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = f"{folder}/{entry.name}" if folder else entry.name
            status = entry.stat(follow_symlinks=False)
            kind = kind_of_mode(status.st_mode)
            yield Member(name, kind, status.st_size if kind == FILE else 0, 0, None)
            if kind == FOLDER:
                yield from self._walk(name)


def kind_of_mode(mode: int) -> str:
    """What a Unix mode says that a file is."""
    return KINDS.get(stat.S_IFMT(mode), "a file of unknown kind")
