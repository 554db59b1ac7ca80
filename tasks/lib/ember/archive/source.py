"""What a person named, a folder, an archive or standard input, read as members with a name and bytes."""

import io
import os
import shutil
import stat
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Protocol, cast

from msgspec import Struct

from tasks.lib.background import call
from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.ember import Limits

KNOWN = "A zip, tar, tar.gz, tar.zst, a folder, or - for standard input."
FILE, FOLDER = "file", "folder"
ENCRYPTED, OTHERWISE_PACKED = "encrypted", "packed by another method than deflate"
# Below this much unpacked data a high ratio does no harm, and small repetitive apps have one.
RATIO_JUDGED_ABOVE = 16 << 20
# A member of any other kind is refused, and the kind is the reason: "a symbolic link", "a device" …
KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
STDIN = "-"
TAR_MAGIC_AT = 257
TAR_HEADER = 512
# Headers and padding come on top of what the files of a tar take.
TAR_OVERHEAD_PER_MEMBER = 2048


class Member(Struct, frozen=True):
    """One entry of an archive.

    Args:
        name: as the archive spells it, unchecked.
        kind: FILE, FOLDER, or words for what else it is.
        size: the bytes it claims to unpack to.
        packed: the bytes it takes in the archive; 0 where the archive is packed as a whole.
        place: what the archive needs to find its bytes again.
    """

    name: str
    kind: str
    size: int
    packed: int
    place: object


Opener = Callable[[], IO[bytes]]


class Archive(Protocol):
    """A source of members that can be read more than once."""

    # What reading can raise when the archive's bytes are not what they should be.
    errors: tuple[type[Exception], ...]

    # Where files can be opened in any order, and one unreadable file says nothing about the next.
    independent: bool

    def members(self) -> Iterator[Member]:
        """Every member once, in order."""

    def contents(self, members: Iterable[Member]) -> Iterator[tuple[Member, Opener]]:
        """Files in the order of `members()`, each with a function that opens it until the next is taken."""

    def open(self, member: Member) -> IO[bytes]:
        """The bytes of one file, at any time; packed as a whole, this reads the archive up to there."""

    def close(self) -> None:
        """Let go of the archive's file."""


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


def open_archive(source: str, limits: Limits) -> Archive:
    """Open `source` for reading, without unpacking anything.
    Raises:
        UsageError: there is no such path, or none was named.
        Failure: it is no archive of a known kind, or cannot be read.

    """
    if not source:
        raise UsageError("No archive was named.", "", f"Say which with --archive. {KNOWN}")
    if source == STDIN:
        if sys.stdin is None:
            raise UsageError("Standard input is closed.", "", KNOWN)
        return _packed(sys.stdin.buffer, "standard input", limits, once=True)
    path = Path(source)
    try:
        if path.is_dir():
            return Folder(path)
        file = call(path.open, "rb")  # a pipe may have no writer for long
    except FileNotFoundError as error:
        raise UsageError(f"There is no archive {source}.", "", KNOWN) from error
    except (OSError, ValueError) as error:
        raise Failure(f"The archive {source} cannot be opened.", str(error)) from error
    # A pipe, such as a shell's <(…), can be read once only.
    return _packed(file, source, limits, once=not file.seekable())


def present(source: str) -> bool:
    """Whether `source` is there; what cannot be looked at may be, and `open_archive` says what is wrong."""
    try:
        return source == STDIN or (bool(source) and Path(source).exists())
    except OSError:
        return True


def _packed(file: IO[bytes], source: str, limits: Limits, *, once: bool) -> Archive:
    """The archive in `file`, which can perhaps be read once only."""
    return _recognised(spooled(file, limits) if once else file, source, limits)


def _recognised(file: IO[bytes], source: str, limits: Limits) -> Archive:
    """The archive in `file`, which it owns from now on, by its first bytes, never by its name."""
    from tasks.lib.ember.archive.tar import PACKINGS, Tarred, plain
    from tasks.lib.ember.archive.zip import Zipped

    start = file.read(TAR_HEADER)
    file.seek(0)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Zipped(file, limits.members)
    packing = next((packing for magic, packing in PACKINGS.items() if start.startswith(magic)), None)
    if packing or _is_tar(start):
        largest = limits.total_size + limits.members * TAR_OVERHEAD_PER_MEMBER
        return Tarred(file, packing or plain, largest, limits.ratio)
    file.close()
    raise Failure(
        f"{source} is no archive that can be read here.", "Its first bytes are those of no known kind.", KNOWN
    )


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
        # A pipe may have nothing for long; a buffered stream would hold a lock that Python wants at its exit.
        data = call(os.read, self._stream.fileno(), size)
        self._left -= len(data)
        if self._left < 0:
            raise Failure(
                "The archive on standard input is refused.",
                "It is larger than ember.limits.total_size.",
                "Is it the right one?  If so, raise that limit in invoke.yaml.",
            )
        return data


def _is_tar(start: bytes) -> bool:
    """Whether a tar begins so: by its magic, which old ones lack, or by its first checksum."""
    if start[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
