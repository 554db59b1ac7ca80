"""Zip archives, read in place."""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO

from tasks.lib.ember.archive.source import (
    ENCRYPTED,
    FILE,
    FOLDER,
    OTHERWISE_PACKED,
    Member,
    Opener,
    kind_of_mode,
)
from tasks.lib.errors import Failure

ENCRYPTED_FLAG = 0x1
UNIX, DARWIN = 3, 19
# Python unpacks other methods in pieces of any size, so that a few bytes can fill the memory.
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# An entry of the directory takes 46 bytes, its name, extra fields and comment; so many on average leave room
# for long ones.
DIRECTORY_ENTRY = 256
SMALL_DIRECTORY = 1 << 20
ENTRY = b"PK\x01\x02"
# The last records, their comment and what belongs to them in a large archive.
LONGEST_END = 22 + 0xFFFF + 76
END_RECORD = re.compile(rb"PK\x05\x06(?=.{8}(.{4}))", re.DOTALL)
END_RECORD_64 = re.compile(rb"PK\x06\x06(?=.{36}(.{8}))", re.DOTALL)
PIECE = 1 << 20


class Zipped:
    """A zip archive.

    Args:
        most_members: a directory that is too long for so many is not even read.

    Raises:
        Failure: it is no zip archive, or its directory is longer than `most_members` need.

    """

    errors: tuple[type[Exception], ...] = (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
    )
    independent = True

    def __init__(self, file: IO[bytes], most_members: int) -> None:
        _refuse_long_directory(file, most_members)
        try:
            self._zip = _opened(file)
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
    """The most bytes that a record near the archive's end states for its directory; 0 where there is none.

    Which of several records zipfile believes differs between its versions.
    """
    end = file.seek(0, 2)
    file.seek(max(0, end - LONGEST_END))
    tail = file.read()
    found = (*END_RECORD.finditer(tail), *END_RECORD_64.finditer(tail))
    return min(end, max((int.from_bytes(one[1], "little") for one in found), default=0))


def lists_more_than(file: IO[bytes], most: int, size: int) -> bool:
    """Whether a directory of `size` bytes has more than `most` entries; whatever it states."""
    end = file.seek(0, 2)
    file.seek(max(0, end - LONGEST_END - size))
    count, before = 0, b""
    while piece := file.read(PIECE):
        count += (before + piece).count(ENTRY)
        before = piece[1 - len(ENTRY) :]
        if count > most:
            return True
    return False


def _refuse_long_directory(file: IO[bytes], most: int) -> None:
    """Look at the directory before zipfile reads it into memory whole.

    Raises:
        Failure: it has more than `most` entries, or takes more bytes than so many need.

    """
    size = directory_size(file)
    why = ""
    if size > SMALL_DIRECTORY + most * DIRECTORY_ENTRY:
        why = f"Its directory takes {size:,} bytes, more than {most:,} members need (ember.limits.members)."
    elif lists_more_than(file, most, size):
        why = f"Its directory lists more than {most:,} members (ember.limits.members)."
    if why:
        raise Failure(
            "The zip archive is refused before it is read.",
            why,
            "Archive only what `ember build` wrote to dist/, or raise that limit in invoke.yaml.",
        )


def _opened(file: IO[bytes]) -> zipfile.ZipFile:
    """Names without the flag for UTF-8 are that all the same if they can be: macOS writes such ones."""
    try:
        return zipfile.ZipFile(file, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(file)


def _kind(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & ENCRYPTED_FLAG:
        return ENCRYPTED
    mode = info.external_attr >> 16
    kind = FOLDER if info.orig_filename.endswith("/") else FILE
    if info.create_system in {UNIX, DARWIN} and mode >> 12:
        kind = kind_of_mode(mode)
    return OTHERWISE_PACKED if kind == FILE and info.compress_type not in METHODS else kind
