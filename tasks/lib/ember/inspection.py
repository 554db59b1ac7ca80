"""Judging an archive before a byte of it is sent: every fault it has, or else what it holds."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from tasks.lib.ember import content, names
from tasks.lib.ember.headers import Headers, Rules
from tasks.lib.ember.member import FILE, FOLDER, Archive, Member
from tasks.lib.ember.tarred import RATIO_JUDGED_ABOVE
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Ember, Limits

INDEX = "index.html"
FAULTS_SHOWN = 1000
# Contents kept between judging and sending, so that small archives are read and compressed once.
KEPT = 4 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an app.

    Args:
        path: relative to the app.
        size: its bytes.
        crc32c: their checksum.
        digest: their SHA-256.
        headers: what it is served with.
        compressible: whether it is stored compressed where that is smaller.
        member: where the bytes come from.
    """

    path: str
    size: int
    crc32c: int
    digest: bytes
    headers: Headers
    compressible: bool
    member: Member


@dataclass
class Inventory:
    """What a sound archive holds, in the archive's order, and some of its contents."""

    entries: list[Entry] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    kept_size: int = 0

    def keep(self, path: str, data: bytes) -> None:
        """Remember contents while there is room."""
        if self.kept_size + len(data) <= KEPT:
            self.kept[path] = data
            self.kept_size += len(data)


def inspect(
    archive: Archive, prefix: str, ember: Ember, tick: Callable[[int, int], None] = lambda _done, _all: None
) -> Inventory:
    """Read the whole archive and judge it.

    Args:
        archive: what to read.
        prefix: what objects will be named with before their path.
        ember: limits, header rules and files to pass over.
        tick: told how many files have been read, of how many.

    Raises:
        Failure: it must not be uploaded; all that is wrong with it is listed.

    """
    faults: list[str] = []
    files = _files(archive, prefix, ember, faults)
    _refuse(faults)
    root = _root([names.relative(member.name) for member in files])
    inventory = Inventory()
    reader = _Reader(ember.limits, Rules(ember.headers), inventory, len(root))
    for number, (member, opened) in enumerate(archive.contents(files), 1):
        try:
            with opened() as file:
                reader.read(member, file)
        except _TooMuch as excess:
            faults.append(_said(member.name, str(excess)))
            break
        except archive.errors as error:
            faults.append(_said(member.name, f"it cannot be read: {error}"))
            if not archive.independent:
                break
        tick(number, len(files))
    _refuse(faults)
    return inventory


def _files(archive: Archive, prefix: str, ember: Ember, faults: list[str]) -> list[Member]:
    """The files to upload, by the archive's own list; faults of names, kinds and claimed sizes are noted."""
    files: list[Member] = []
    try:
        for member in _relevant(archive, ember, faults):
            if fault := _fault(member, names.relative(member.name), prefix, ember.limits):
                faults.append(_said(member.name, fault))
            elif member.kind == FILE:
                files.append(member)
    except archive.errors as error:
        faults.append(f"it cannot be read to its end: {error}")
    total = sum(member.size for member in files)
    if total > ember.limits.total_size:
        faults.append(f"it unpacks to {total:,} bytes, more than ember.limits.total_size")
    faults.extend(_clashes(files))
    if not files and not faults:
        faults.append("it holds no files")
    return files


def _relevant(archive: Archive, ember: Ember, faults: list[str]) -> Iterator[Member]:
    """The members that are not to be passed over, as many as there may be."""
    ignored = [re.compile(pattern) for pattern in ember.ignored]
    for count, member in enumerate(archive.members(), 1):
        if count > ember.limits.members:
            faults.append(f"it has more than {ember.limits.members:,} members (ember.limits.members)")
            return
        name = names.relative(member.name)
        is_root = member.kind == FOLDER and name in {"", "."}
        if not is_root and not any(pattern.fullmatch(name) for pattern in ignored):
            yield member


def _fault(member: Member, name: str, prefix: str, limits: Limits) -> str:
    """What is wrong with one member as far as its header tells."""
    if fault := names.fault(name, prefix):
        return fault
    if member.kind == "encrypted":
        return "it is encrypted"
    if member.kind not in {FILE, FOLDER}:
        return f"it is {member.kind}, not a file"
    if member.size > limits.member_size:
        return f"it unpacks to {member.size:,} bytes, more than ember.limits.member_size"
    if member.packed and member.size > RATIO_JUDGED_ABOVE and member.size > limits.ratio * member.packed:
        return f"it unpacks to more than {limits.ratio} times its packed size (ember.limits.ratio)"
    return ""


def _clashes(files: Sequence[Member]) -> Iterator[str]:
    """Files that some system would take for one, by case or Unicode form, and files that hold files."""
    paths = [names.relative(member.name) for member in files]
    for earlier, later in names.clashes(paths):
        yield _said(
            later,
            "it is there twice"
            if earlier == later
            else f"it differs from {names.spelled(earlier)} only by case or Unicode form",
        )
    known = set(paths)
    for path in paths:
        for end in (at for at, letter in enumerate(path) if letter == "/"):
            if path[:end] in known:
                yield _said(path, f"{names.spelled(path[:end])} is a file, and cannot hold it")


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

    def __init__(self, limits: Limits, rules: Rules, inventory: Inventory, root: int) -> None:
        self._limits = limits
        self._rules = rules
        self._inventory = inventory
        self._root = root
        self._total = 0

    def read(self, member: Member, file: IO[bytes]) -> None:
        """Read one file to its end, which checks it, and note what it is."""
        path = names.relative(member.name)[self._root :]
        digest = hashlib.sha256()
        pieces = self._counted(member, file, digest.update)
        if member.size <= content.PIECE:
            data = b"".join(pieces)
            crc32c = content.checksum([data])
            self._inventory.keep(path, data)
        else:
            crc32c = content.checksum(pieces)
        rules = self._rules
        entry = Entry(
            path, member.size, crc32c, digest.digest(), rules.headers(path), rules.may_gzip(path), member
        )
        self._inventory.entries.append(entry)

    def _counted(self, member: Member, file: IO[bytes], note: Callable[[bytes], None]) -> Iterator[bytes]:
        """The pieces of a file, and an end to them where it holds more than it claims or may."""
        size = 0
        for piece in content.pieces(file):
            size += len(piece)
            self._total += len(piece)
            if size > member.size:
                raise _TooMuch("it unpacks to more than the size it claims")
            if self._total > self._limits.total_size:
                raise _TooMuch("with it the archive unpacks to more than ember.limits.total_size")
            note(piece)
            yield piece
        if size < member.size:
            raise _TooMuch(f"it claims {member.size:,} bytes and holds {size:,}")


def _said(name: str, fault: str) -> str:
    return f"{names.spelled(name)}: {fault}"


def _refuse(faults: Sequence[str]) -> None:
    if not faults:
        return
    shown = [f"- {fault}" for fault in faults[:FAULTS_SHOWN]]
    if len(faults) > FAULTS_SHOWN:
        shown.append(f"- and {len(faults) - FAULTS_SHOWN:,} more")
    raise Failure(
        "The archive is refused; nothing was uploaded.",
        "\n".join(shown),
        "Archive what `ember build` wrote to dist/ again, as plain files and folders.",
    )
