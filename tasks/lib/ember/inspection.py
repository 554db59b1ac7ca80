"""Judging an archive before a byte of it is sent: every fault it has, or else what it holds."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import IO

from msgspec import Struct, field

from tasks.lib import signals
from tasks.lib.ember import content
from tasks.lib.ember.archive import Archive, Member
from tasks.lib.ember.headers import Headers, Rules, may_be_gzip
from tasks.lib.ember.survey import INDEX, Survey, refuse, said, survey
from tasks.lib.settings.ember import Ember, Limits

# Contents kept between judging and sending, so that small archives are read and compressed once.
KEPT = 4 << 20


class Entry(Struct, frozen=True):
    """One file of an app.

    Args:
        path: relative to the app.
        size: its bytes.
        crc32c: their checksum.
        digest: their SHA-256; empty where nobody worked it out.
        headers: what it is served with.
        compressible: whether it is stored compressed where that is smaller.
        member: where the bytes come from.
        shared: whether its name carries its content's hash, so that revisions share it.
    """

    path: str
    size: int
    crc32c: int
    digest: bytes
    headers: Headers
    compressible: bool
    member: Member
    shared: bool = False


class Inventory(Struct):
    """What a sound archive holds, in the archive's order, and some of its contents.

    `index` is its page, and `broken` says what would keep a browser from running the app.
    """

    entries: list[Entry] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    kept_size: int = 0
    index: bytes = b""
    broken: list[str] = field(default_factory=list)

    def keep(self, path: str, data: bytes) -> None:
        """Remember contents while there is room."""
        if self.kept_size + len(data) <= KEPT:
            self.kept[path] = data
            self.kept_size += len(data)


def inspect(archive: Archive, prefix: str, ember: Ember) -> Inventory:
    """Read the whole archive and judge it: `survey`, then `read`."""
    return read(archive, survey(archive, prefix, ember), ember)


def read(archive: Archive, listed: Survey, ember: Ember) -> Inventory:
    """Read and judge the contents of an archive whose list was found sound.

    Raises:
        Failure: it must not be uploaded; all that is wrong with it is listed.

    """
    faults: list[str] = []
    inventory = Inventory()
    reader = _Reader(ember.limits, Rules(ember.headers, ember.fingerprints), inventory)
    for (member, opened), path in zip(archive.contents(listed.files), listed.paths, strict=True):
        signals.check()
        try:
            with opened() as file:
                reader.read(member, path, file)
        except _TooMuch as excess:
            faults.append(said(member.name, str(excess)))
            break
        except archive.errors as error:
            faults.append(said(member.name, f"it cannot be read: {error}"))
            if not archive.independent:
                break
    refuse(faults)
    return inventory


class _TooMuch(Exception):  # noqa: N818 - never leaves this module
    """A member, or all of them, unpack to more than the limits allow."""


class _Reader:
    """Reads files one after the other, within the limits, into an inventory."""

    def __init__(self, limits: Limits, rules: Rules, inventory: Inventory) -> None:
        self._limits = limits
        self._rules = rules
        self._inventory = inventory
        self._total = 0

    def read(self, member: Member, path: str, file: IO[bytes]) -> None:
        """Read one file to its end, which checks it, and note what it is."""
        digest = sha256()
        headers, compressible = self._rules.of(path)
        if member.size <= content.PIECE:
            data = self._whole(member, file)
            crc32c = content.checksum([data])
            digest.update(data)
            self._inventory.keep(path, data)
            self._look_at(member, path, headers, data)
        else:
            pieces = self._begun(member, path, headers, content.pieces(file))
            crc32c = content.checksum(self._counted(member, pieces, digest.update))
        shared = self._rules.is_fingerprinted(path)
        entry = Entry(path, member.size, crc32c, digest.digest(), headers, compressible, member, shared)
        self._inventory.entries.append(entry)

    def _begun(
        self, member: Member, path: str, headers: Headers, pieces: Iterator[bytes]
    ) -> Iterator[bytes]:  # fmt: skip
        """The pieces of a file, of which the first is looked at."""
        first = next(pieces, b"")
        self._look_at(member, path, headers, first)
        yield first
        yield from pieces

    def _look_at(self, member: Member, path: str, headers: Headers, beginning: bytes) -> None:
        """Note what a browser could not read as what it is served as."""
        if content.is_gzip(beginning) and not may_be_gzip(headers.content_type):
            fault = f"it is gzip already, and would be served as {headers.content_type} all the same"
            self._inventory.broken.append(said(member.name, fault))
        if path == INDEX:
            self._inventory.index = beginning

    def _whole(self, member: Member, file: IO[bytes]) -> bytes:
        """A small file, in one piece where it comes so: most files are, and pieces would take longer."""
        data = file.read(member.size + 1)
        while len(data) <= member.size and (more := file.read(member.size + 1 - len(data))):
            data += more
        self._count(member, len(data), len(data))
        self._expect_all(member, len(data))
        return data

    def _counted(
        self, member: Member, pieces: Iterator[bytes], note: Callable[[bytes], None]
    ) -> Iterator[bytes]:  # fmt: skip
        """The pieces of a file, and an end to them where it holds more than it claims or may."""
        size = 0
        for piece in pieces:
            size += len(piece)
            self._count(member, len(piece), size)
            note(piece)
            yield piece
        self._expect_all(member, size)

    def _count(self, member: Member, more: int, size: int) -> None:
        self._total += more
        if size > member.size:
            raise _TooMuch("it unpacks to more than the size it claims")
        if self._total > self._limits.total_size:
            raise _TooMuch("with it the archive unpacks to more than ember.limits.total_size")

    def _expect_all(self, member: Member, size: int) -> None:
        if size < member.size:
            raise _TooMuch(f"it claims {member.size:,} bytes and holds {size:,}")
