"""Headers of a tar archive, read by tarfile with limits that it lacks.

tarfile takes a damaged header for the archive's end, passes over whatever comes after the end, and reads
extensions of any number and size into memory.  Here the first two are errors and the third is bounded.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

# Headers that extend the next one (a long name, pax attributes) are read into memory whole: no honest ones
# before one member are larger, or more.
LARGEST_EXTENSIONS = 1 << 20
MOST_EXTENSIONS = 16
EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
PIECE = 1 << 16


class Readable(Protocol):
    """What tarfile needs of a stream."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes more; none at the end."""


class Headers:
    """The members of an archive.

    Args:
        stream: the unpacked archive, from its beginning.
        largest: a member that claims more bytes ends the reading, since even passing over it takes too long.
    """

    def __init__(self, stream: Readable, largest: int) -> None:
        self._largest = largest
        self.tar: tarfile.TarFile = _Tar.open(  # type: ignore[call-overload]
            fileobj=stream, mode="r|", tarinfo=_Info, encoding="utf-8", errors="surrogateescape"
        )

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Headers one by one, each kept only until the next; tarfile would keep them all."""
        while info := self.tar.next():
            yield info
            if info.size > self._largest:
                raise tarfile.ReadError(
                    f"a member claims {info.size:,} bytes, more than ember.limits (total_size, ratio) allow"
                )
            self.tar.members = []  # type: ignore[attr-defined]
            self.tar.extended = self.tar.extensions = 0  # type: ignore[attr-defined]

    def expect_end(self) -> None:
        """Read on to the end, where nothing but zeros may come.

        Raises:
            ReadError: something else does, which would be left out in silence.

        """
        rest: Any = self.tar.fileobj
        while data := rest.read(PIECE):
            if data.strip(b"\0"):
                raise tarfile.ReadError("there is more after the marker at its end")


class _Tar(tarfile.TarFile):
    """Counts the extensions before one member, and what global ones leave in memory for good."""

    extended = 0
    extensions = 0
    lasting = 0


class _Info(tarfile.TarInfo):
    """A header that tells damage from the end, and bounds what it reads."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        with _damage_is_no_end():
            return super().frombuf(buf, encoding, errors)

    @classmethod
    def _frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str, **more: Any) -> Self:
        """What later releases of Python 3.12 to 3.14 call in its place."""
        with _damage_is_no_end():
            return super()._frombuf(buf, encoding, errors, **more)  # type: ignore[misc,no-any-return]

    def _proc_member(self, tar: _Tar) -> tarfile.TarInfo:
        if self.size < 0:
            raise tarfile.ReadError("a member claims a negative size")
        if self.type in EXTENSIONS:
            self._count(tar)
        with _damage_is_no_end():
            found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        if found.size < 0:
            raise tarfile.ReadError("a member claims a negative size")
        return found

    def _count(self, tar: _Tar) -> None:
        if self.size > LARGEST_EXTENSIONS:
            raise tarfile.ReadError(f"a header extension takes {self.size:,} bytes")
        tar.extensions += 1
        tar.extended += self.size
        if self.type == tarfile.XGLTYPE:
            tar.lasting += self.size
        if max(tar.extended, tar.lasting) > LARGEST_EXTENSIONS:
            raise tarfile.ReadError(f"header extensions together take more than {LARGEST_EXTENSIONS:,} bytes")
        if tar.extensions > MOST_EXTENSIONS:
            raise tarfile.ReadError(f"more than {MOST_EXTENSIONS} header extensions follow each other")

    def _proc_sparse(self, tar: _Tar) -> tarfile.TarInfo:
        """Pass over the map of a sparse file: such files are refused, and the map may be endless."""
        _, extended, _ = self._sparse_structs  # type: ignore[attr-defined]
        while extended:
            block = tar.fileobj.read(tarfile.BLOCKSIZE)
            if len(block) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("it is cut short in the map of a sparse file")
            extended = bool(block[504])
        self.sparse = []  # type: ignore[assignment]
        self.offset_data = tar.fileobj.tell()
        tar.offset = self.offset_data + self._block(self.size)  # type: ignore[attr-defined]
        return self

    def _proc_gnusparse_10(self, next_: tarfile.TarInfo, _headers: object, _tar: _Tar) -> None:
        """The same where the map comes before the file's bytes, which are passed over together."""
        next_.sparse = []  # type: ignore[assignment]


@contextmanager
def _damage_is_no_end() -> Iterator[None]:
    """Tell a damaged header from the archive's end, for which tarfile takes both."""
    try:
        yield
    except (tarfile.EmptyHeaderError, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
        raise
    except tarfile.HeaderError as error:
        raise tarfile.ReadError(f"a header is damaged ({error})") from error
