"""What a sound archive holds.  It is judged before a byte of it is sent: by its list, then by its content."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import IO

from msgspec import Struct, field

from tasks.lib import signals
from tasks.lib.ember import content, names
from tasks.lib.ember.archive import problems
from tasks.lib.ember.archive.problems import refuse, said
from tasks.lib.ember.archive.source import FILE, FOLDER, Archive, Member
from tasks.lib.ember.entry import INDEX, Entry
from tasks.lib.ember.headers import Headers, Rules, may_be_gzip
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Ember

# Contents kept between judging and sending, so that small archives are read and compressed once.
MOST_KEPT = 4 << 20


class Inventory(Struct):
    """What a sound archive holds.

    Args:
        kept: some of their contents.
        broken: what would keep a browser from running the app.
    """

    entries: list[Entry] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    index: bytes = b""
    broken: list[str] = field(default_factory=list)


def inspect(archive: Archive, prefix: str, ember: Ember) -> Inventory:
    """Read the whole archive and judge it.

    Raises:
        Failure: it must not be uploaded; all that is wrong with it is listed.

    """
    files = _listed(archive, prefix, ember)
    paths = _paths(files)
    reader = _Reader(ember)
    found = []
    for (member, opened), path in zip(archive.contents(files), paths, strict=True):
        signals.check()
        try:
            with opened() as file:
                reader.read(member, path, file)
        except _TooMuch as excess:
            found.append(said(member.name, str(excess)))
            break
        except archive.errors as error:
            found.append(said(member.name, f"it cannot be read: {error}"))
            if not archive.independent:
                break
    refuse(found)
    return reader.inventory


def _listed(archive: Archive, prefix: str, ember: Ember) -> list[Member]:
    """The files to upload, once names, kinds and claimed sizes were found sound."""
    members, unreadable = _members(archive, ember)
    judged = [(member, problems.of_member(member, prefix, ember.limits)) for member in members]
    files = [member for member, problem in judged if member.kind == FILE and not problem]
    excess = problems.of_sizes(files, ember.limits)
    found = [said(member.name, problem) for member, problem in judged if problem]
    found += [*unreadable, *excess, *problems.of_names(files)]
    if found and archive.independent and not excess:
        # It is refused in any case; what else is wrong is told at once too.
        found.extend(_damaged(archive, files))
    refuse(found or ([] if files else ["it holds no files"]))
    return files


def _members(archive: Archive, ember: Ember) -> tuple[list[Member], list[str]]:
    """The members that are not passed over, as many as there may be, and why there are no more."""
    ignored = [re.compile(pattern) for pattern in ember.ignored]
    members: list[Member] = []
    try:
        for count, member in enumerate(archive.members(), 1):
            signals.check()
            if count > ember.limits.members:
                return members, [f"it has more than {ember.limits.members:,} members (ember.limits.members)"]
            name = names.relative(member.name)
            is_root = member.kind == FOLDER and name in {"", "."}
            if not is_root and not any(pattern.fullmatch(name) for pattern in ignored):
                members.append(member)
    except archive.errors as error:
        return members, [f"it cannot be read to its end: {error}"]
    return members, []


def _damaged(archive: Archive, files: Sequence[Member]) -> Iterator[str]:
    """The files that cannot be read to their end."""
    for member, opened in archive.contents(files):
        signals.check()
        try:
            with opened() as file:
                deque(content.pieces(file), maxlen=0)
        except archive.errors as error:
            yield said(member.name, f"it cannot be read: {error}")


def _paths(files: Sequence[Member]) -> list[str]:
    """What the files are called within the app."""
    paths = [names.relative(member.name) for member in files]
    root = len(_root(paths))
    paths = [path[root:] for path in paths]
    kept = (path for path in paths if names.KEPT_FOR_REVISIONS.fullmatch(path))
    refuse([said(path, "its name is kept for revisions") for path in kept])
    return paths


def _root(paths: Sequence[str]) -> str:
    """The folder that the whole app lies in, with its slash; empty where index.html is at the top.

    Raises:
        Failure: there is no index.html.

    """
    if INDEX in paths:
        return ""
    tops = {path.split("/", 1)[0] + "/" for path in paths}
    if len(tops) == 1 and (root := tops.pop()) + INDEX in paths:
        return root
    raise Failure(
        "The archive holds no built Ember app.",
        "There is no index.html at its top.",
        "Archive what `ember build` wrote to dist/.",
    )


class _TooMuch(Exception):  # noqa: N818 - never leaves this module
    """A member, or all of them, unpack to more than the limits allow."""


class _Reader:
    """Reads files one after the other, within the limits, into an inventory."""

    def __init__(self, ember: Ember) -> None:
        self.inventory = Inventory()
        self._limits = ember.limits
        self._rules = Rules(ember.headers, ember.fingerprints)
        self._total = 0
        self._room = MOST_KEPT

    def read(self, member: Member, path: str, file: IO[bytes]) -> None:
        """Read one file to its end, which checks it, and note what it is."""
        digest, crc32c, size, first = sha256(), 0, 0, b""
        for piece in _pieces(member, file):
            first = first or piece
            size += len(piece)
            self._count(member, len(piece), size)
            digest.update(piece)
            crc32c = content.extended(crc32c, piece)
        if size < member.size:
            raise _TooMuch(f"it claims {member.size:,} bytes and holds {size:,}")
        headers, compressible = self._rules.of(path)
        shared = self._rules.is_fingerprinted(path)
        entry = Entry(path, size, crc32c, digest.digest(), headers, compressible, shared)
        self.inventory.entries.append(entry)
        self.inventory.members[path] = member
        self._look_at(member, path, headers, first)
        if len(first) == size <= self._room:
            self.inventory.kept[path] = first
            self._room -= size

    def _count(self, member: Member, more: int, size: int) -> None:
        self._total += more
        if size > member.size:
            raise _TooMuch("it unpacks to more than the size it claims")
        if self._total > self._limits.total_size:
            raise _TooMuch("with it the archive unpacks to more than ember.limits.total_size")

    def _look_at(self, member: Member, path: str, headers: Headers, beginning: bytes) -> None:
        """Note what a browser could not read as what it is served as."""
        if content.is_gzip(beginning) and not may_be_gzip(headers.content_type):
            problem = f"it is gzip already, and would be served as {headers.content_type} all the same"
            self.inventory.broken.append(said(member.name, problem))
        if path == INDEX:
            self.inventory.index = beginning


def _pieces(member: Member, file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file, in pieces no larger than what it claims, and one byte of what it holds beyond."""
    left = member.size + 1
    while left and (piece := file.read(min(content.PIECE, left))):
        signals.check()
        left -= len(piece)
        yield piece
