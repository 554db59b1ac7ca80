"""What every kind of archive is read as: members with a name, a kind and a way to their bytes."""

from collections.abc import Callable, Iterable, Iterator
from typing import IO, Protocol

from msgspec import Struct

KNOWN = "A zip, tar, tar.gz, tar.zst, a folder, or - for standard input."
FILE, FOLDER = "file", "folder"
ENCRYPTED, OTHERWISE_PACKED = "encrypted", "packed by another method than deflate"
# Below this much unpacked data a high ratio does no harm, and small repetitive apps have one.
RATIO_JUDGED_ABOVE = 16 << 20
# A member of any other kind is refused, and the kind is the reason: "a symbolic link", "a device" …


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
