"""Tar archives, plain or packed with gzip or Zstandard, read as a stream.

tarfile takes a damaged header for the archive's end, passes over whatever comes after the end, and reads
headers that extend the next one (long names, attributes, maps of sparse files) into memory, of any size.
Here the stream that it reads from counts: what is left at the end, and how far it is read before a member.
"""

import contextlib
import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import IO, cast

from tasks.lib.ember.archive import zstandard_frames
from tasks.lib.ember.archive.source import FILE, FOLDER, RATIO_JUDGED_ABOVE, Member, Opener

LARGEST_ZSTANDARD_WINDOW = 128 << 20
# No honest headers of one member are larger, nor attributes of all members.
LARGEST_HEADERS = 1 << 20
# Blocks of zeros that end an archive.
END_OF_ARCHIVE = 2 * tarfile.BLOCKSIZE
PIECE = 1 << 16


# Opens the unpacked stream of an archive's file, which stays open when the stream is closed.
Packing = Callable[[IO[bytes]], IO[bytes]]


def plain(file: IO[bytes]) -> IO[bytes]:
    """A tar that is not packed."""
    return file


def gzipped(file: IO[bytes]) -> IO[bytes]:
    """A .tar.gz."""
    return gzip.GzipFile(fileobj=file, mode="rb")  # type: ignore[return-value]


def zstandard(file: IO[bytes]) -> IO[bytes]:
    """A .tar.zst; a window beyond 128 MiB is refused."""
    from zstandard import ZstdDecompressor

    unpacker = ZstdDecompressor(max_window_size=LARGEST_ZSTANDARD_WINDOW)
    return unpacker.stream_reader(file, read_across_frames=True, closefd=False)


PACKINGS: Mapping[bytes, Packing] = {b"\x1f\x8b": gzipped, b"\x28\xb5\x2f\xfd": zstandard}


class Tarred:
    """A tar archive.

    Args:
        largest: the unpacked bytes after which reading stops with an error.
        ratio: how many times its packed size the stream may grow to.
    """

    independent = False

    def __init__(self, file: IO[bytes], packing: Packing, largest: int, ratio: int) -> None:
        from zstandard import ZstdError

        self.errors: tuple[type[Exception], ...] = (
            tarfile.TarError,
            zlib.error,
            EOFError,
            OSError,
            ZstdError,
            ValueError,
        )
        self._file = file
        self._packing = packing
        packed = file.seek(0, io.SEEK_END)
        self._largest = (
            min(largest, max(packed * ratio, RATIO_JUDGED_ABOVE)) if packing is not plain else largest
        )

    def members(self) -> Iterator[Member]:
        """Every member in order; then the rest of the stream is read, with the checks of its packing."""
        with self._stream() as stream:
            members = _Members(stream, self._largest)
            for number, info in enumerate(members):
                yield _member(info, number)
            members.expect_end()
        if self._packing is zstandard:
            zstandard_frames.expect_whole(self._file)

    def contents(self, members: Iterable[Member]) -> Iterator[tuple[Member, Opener]]:
        """Files from one reading of the archive, which ends with the last of them."""
        wanted = iter(members)
        member = next(wanted, None)
        with self._stream() as stream:
            found = _Members(stream, self._largest)
            for number, info in enumerate(found):
                if member is None:
                    return
                if number == member.place:
                    yield member, partial(_extracted, found.tar, info)
                    member = next(wanted, None)
        if member is not None:
            raise tarfile.ReadError("the archive changed while it was read")

    def open(self, member: Member) -> IO[bytes]:
        """One file, in a reading of its own."""
        return io.BufferedReader(_Alone(self.contents([member])))

    def close(self) -> None:
        """Close the archive's file too."""
        self._file.close()

    @contextlib.contextmanager
    def _stream(self) -> Iterator["_Stream"]:
        # A descriptor has one position, but a file opened while another is read needs its own.
        file = _Reopened(self._file)
        unpacked = self._packing(cast("IO[bytes]", file))
        try:
            yield _Stream(unpacked, self._largest)
        finally:
            unpacked.close()


class _Stream:
    """The unpacked stream as tarfile reads it.

    Args:
        largest: the bytes after which reading it is an error.
    """

    def __init__(self, file: IO[bytes], largest: int) -> None:
        self._file = file
        self._largest = largest
        self.position = 0
        # Where reading is an error before that; and where the last byte was that is not zero.
        self.limit = LARGEST_HEADERS + tarfile.RECORDSIZE
        self.filled = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if used := len(data.rstrip(b"\0")):
            self.filled = self.position + used
        self.position += len(data)
        if self.position > self._largest:
            raise tarfile.ReadError("it unpacks to more than ember.limits (total_size, ratio) allow")
        if self.position > self.limit:
            raise tarfile.ReadError(f"the headers of a member take more than {LARGEST_HEADERS:,} bytes")
        return data


class _Members:
    """The members of an archive, by tarfile.

    Args:
        largest: a member that claims more bytes ends the reading, since even passing over it takes too long.
    """

    def __init__(self, stream: _Stream, largest: int) -> None:
        self._stream = stream
        self._largest = largest
        with _damage_told():
            self.tar = tarfile.open(  # noqa: SIM115 - the stream is closed elsewhere
                fileobj=cast("IO[bytes]", stream), mode="r|", encoding="utf-8", errors="surrogateescape"
            )

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Members one by one, each kept only until the next; tarfile would keep them all."""
        while info := self._next():
            yield info
            if info.size > self._largest:
                raise tarfile.ReadError(
                    f"a member claims {info.size:,} bytes, more than ember.limits (total_size, ratio) allow"
                )
            self.tar.members = []  # type: ignore[attr-defined]

    def expect_end(self) -> None:
        """Read on to the end, where nothing but zeros may come, and enough of them.

        Raises:
            ReadError: something else does, which would be left out in silence.

        """
        end, self._stream.limit = self.tar.offset, self._largest
        while self._stream.read(PIECE):
            pass
        if self._stream.position < end + END_OF_ARCHIVE:
            raise tarfile.ReadError("it is cut short: the marker at its end is missing")
        if self._stream.filled > end:
            raise tarfile.ReadError("a header is damaged, or there is more after the marker at its end")

    def _next(self) -> tarfile.TarInfo | None:
        with _damage_told():
            info = self.tar.next()
        self._stream.limit = self.tar.offset + LARGEST_HEADERS + tarfile.RECORDSIZE
        if info and info.size < 0:
            raise tarfile.ReadError("a member claims a negative size")
        if sum(len(key) + len(value) for key, value in self.tar.pax_headers.items()) > LARGEST_HEADERS:
            raise tarfile.ReadError(f"attributes of all members take more than {LARGEST_HEADERS:,} bytes")
        return info


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    """Tell by an error of tarfile's own what it makes of some headers."""
    try:
        yield
    except RecursionError as error:
        raise tarfile.ReadError("too many header extensions follow each other") from error
    except IndexError as error:
        raise tarfile.ReadError("a header is cut short") from error


class _Reopened(io.RawIOBase):
    """A file read from its beginning at a position of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._file.seek(self._position)
        data = self._file.read(size)
        self._position += len(data)
        return data

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Alone(io.RawIOBase):
    """The one file that `contents` yields, which ends the reading when it is closed."""

    def __init__(self, contents: Iterator[tuple[Member, Opener]]) -> None:
        self._contents = contents
        self._file = next(contents)[1]()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._contents.close()  # type: ignore[attr-defined]
        super().close()


def _member(info: tarfile.TarInfo, number: int) -> Member:
    kind = _kind(info)
    return Member(info.name, kind, 0 if kind == FOLDER else info.size, 0, number)


def _extracted(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    if file is None:
        raise tarfile.ReadError(f"{info.name} is no file")
    return file


def _kind(info: tarfile.TarInfo) -> str:
    if info.issparse():
        return "a sparse file"
    if info.isfile():
        return FILE
    if info.isdir():
        return FOLDER
    if info.issym():
        return "a symbolic link"
    if info.islnk():
        return "a hard link"
    return "a device" if info.isdev() else "a member of unknown kind"
