"""Zip archives, read in place."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO

from tasks.lib.ember.folder import kind_of_mode
from tasks.lib.ember.member import FILE, FOLDER, Member, Opener
from tasks.lib.errors import Failure

ENCRYPTED = 0x1
UNIX = 3
# An entry of the directory at the archive's end: 46 bytes, then name, extra fields and comment.
LARGEST_DIRECTORY_ENTRY = 46 + 2048
END_RECORD = b"PK\x05\x06"
END_RECORD_64 = b"PK\x06\x06"


class Zipped:
    """A zip archive.

    Args:
        file: the archive, seekable.
        most_members: a directory that is too long for so many is not even read.

    Raises:
        Failure: it is no zip archive, or its directory is longer than `most_members` need.

    """

    errors: tuple[type[Exception], ...] = (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
    )
    independent = True

    def __init__(self, file: IO[bytes], most_members: int) -> None:
        size = directory_size(file)
        if size > most_members * LARGEST_DIRECTORY_ENTRY:
            raise Failure(
                "The zip archive is refused before it is read.",
                f"Its directory takes {size:,} bytes, more than {most_members:,} members need "
                "(ember.limits.members).",
            )
        try:
            self._zip = zipfile.ZipFile(file)
        except self.errors as error:
            raise Failure(
                "The zip archive cannot be read.", str(error), "Build it again; `unzip -t` tests one."
            ) from error

    def members(self) -> Iterator[Member]:
        """Every member in the order of the archive's directory."""
        for info in self._zip.filelist:
            # ZipInfo cuts a name at a zero byte; the name as it was written is what has to be judged.
            yield Member(info.orig_filename, _kind(info), info.file_size, info.compress_size, info)

    def contents(self, members: Iterable[Member]) -> Iterator[tuple[Member, Opener]]:
        """Files in the order they are asked for."""
        return ((member, partial(self.open, member)) for member in members)

    def open(self, member: Member) -> IO[bytes]:
        """Open one file; its CRC is checked when its end is read."""
        assert isinstance(member.place, zipfile.ZipInfo)  # noqa: S101 - for the type checker
        return self._zip.open(member.place)

    def close(self) -> None:
        """Close the archive's file too."""
        file = self._zip.fp
        self._zip.close()
        if file:
            file.close()


def directory_size(file: IO[bytes]) -> int:
    """The bytes of the directory as the archive's last record states them; 0 where there is no such record.

    zipfile reads the whole directory into memory, so its size is looked at before.
    """
    end = file.seek(0, 2)
    file.seek(max(0, end - 22 - 0xFFFF - 76))
    tail = file.read()
    found = tail.rfind(END_RECORD)
    if found < 0 or len(tail) < found + 22:
        return 0
    size = int(struct.unpack_from("<L", tail, found + 12)[0])
    found_64 = tail.rfind(END_RECORD_64, 0, found)
    if size == 0xFFFFFFFF and found_64 >= 0:
        return int(struct.unpack_from("<Q", tail, found_64 + 40)[0])
    return size


def _kind(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & ENCRYPTED:
        return "encrypted"
    mode = info.external_attr >> 16
    if info.create_system == UNIX and mode >> 12:
        return kind_of_mode(mode)
    return FOLDER if info.orig_filename.endswith("/") else FILE
