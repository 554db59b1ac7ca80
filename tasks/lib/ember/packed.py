"""Telling what a packed archive is, by its first bytes, never by its name."""

import shutil
import tarfile
import tempfile
from typing import IO, cast

from tasks.lib import signals
from tasks.lib.ember import tarred
from tasks.lib.ember.member import KNOWN, Archive
from tasks.lib.ember.zipped import Zipped
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Limits

TAR_MAGIC_AT = 257
TAR_HEADER = 512
# Headers and padding come on top of what the files of a tar take.
TAR_OVERHEAD_PER_MEMBER = 2048


def recognised(file: IO[bytes], source: str, limits: Limits) -> Archive:
    """The archive in `file`, which it owns from now on.

    Raises:
        Failure: it is of no known kind.

    """
    start = file.read(TAR_HEADER)
    file.seek(0)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Zipped(file, limits.members)
    packing = _packing(start)
    if packing is None:
        file.close()
        raise Failure(
            f"{source} is no archive that can be read here.",
            "Its first bytes are those of no known kind.",
            KNOWN,
        )
    largest = limits.total_size + limits.members * TAR_OVERHEAD_PER_MEMBER
    return tarred.Tarred(file, packing, largest, limits.ratio)


def spooled(stream: IO[bytes], limits: Limits) -> IO[bytes]:
    """A copy of a stream that can be read twice: once to judge it, once to send it.

    The archive is kept as it came, in a file without a name that vanishes with this process.

    Raises:
        Failure: it is larger than what an archive may unpack to, or there is no room for it.

    """
    try:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - the archive closes it
        shutil.copyfileobj(cast("IO[bytes]", _Limited(stream, limits.total_size)), copy, 1 << 20)
        copy.seek(0)
    except OSError as error:
        raise Failure(
            "The archive on standard input could not be copied to a temporary file.",
            str(error),
            "Name it as a file, or set TMPDIR to a folder with room for it.",
        ) from error
    return copy


class _Limited:
    """A stream that fails once it has given more than `left` bytes."""

    def __init__(self, stream: IO[bytes], left: int) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int) -> bytes:
        with signals.raised():  # a pipe may have nothing for long
            data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise Failure(
                "The archive on standard input is refused.",
                "It is larger than ember.limits.total_size.",
                "Is it the right one?  If so, raise that limit in invoke.yaml.",
            )
        return data


def _packing(start: bytes) -> tarred.Packing | None:
    if start.startswith(b"\x1f\x8b"):
        return tarred.gzipped
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return tarred.zstandard
    return tarred.plain if _is_tar(start) else None


def _is_tar(start: bytes) -> bool:
    """Whether a tar begins so: by its magic, which old ones lack, or by its first checksum."""
    if start[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
