"""Judging an archive by its own list of what it holds, before any content is read."""

import re
from collections import deque
from collections.abc import Iterator, Sequence

from msgspec import Struct

from tasks.lib import signals
from tasks.lib.ember import content, names
from tasks.lib.ember.archive import (
    ENCRYPTED,
    FILE,
    FOLDER,
    OTHERWISE_PACKED,
    RATIO_JUDGED_ABOVE,
    Archive,
    Member,
)  # fmt: skip
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Ember, Limits

INDEX = "index.html"
FAULTS_SHOWN = 1000


class Survey(Struct, frozen=True):
    """What an archive lists.

    Args:
        files: its files, in its order.
        paths: what they are called within the app, in the same order.
    """

    files: Sequence[Member]
    paths: Sequence[str]


def survey(archive: Archive, prefix: str, ember: Ember) -> Survey:
    """List an archive and judge names, kinds and claimed sizes.

    Raises:
        Failure: it must not be uploaded; all that is wrong with it is listed.

    """
    faults: list[str] = []
    files = _files(archive, prefix, ember, faults)
    if faults and archive.independent and not any(_excess(files, ember.limits)):
        # It is refused in any case; what else is wrong is told at once too.
        faults.extend(_damaged(archive, files))
    refuse(faults)
    paths = [names.relative(member.name) for member in files]
    root = len(_root(paths))
    paths = [path[root:] for path in paths]
    refuse(
        [said(p, "its name is kept for revisions") for p in paths if names.KEPT_FOR_REVISIONS.fullmatch(p)]
    )
    return Survey(files, paths)


def _files(archive: Archive, prefix: str, ember: Ember, faults: list[str]) -> list[Member]:
    """The files to upload, by the archive's own list; faults of names, kinds and claimed sizes are noted."""
    files: list[Member] = []
    try:
        for member in _relevant(archive, ember, faults):
            if fault := _fault(member, names.relative(member.name), prefix, ember.limits):
                faults.append(said(member.name, fault))
            elif member.kind == FILE:
                files.append(member)
    except archive.errors as error:
        faults.append(f"it cannot be read to its end: {error}")
    faults.extend(_excess(files, ember.limits))
    faults.extend(_clashes(files))
    if not files and not faults:
        faults.append("it holds no files")
    return files


def _relevant(archive: Archive, ember: Ember, faults: list[str]) -> Iterator[Member]:
    """The members that are not to be passed over, as many as there may be."""
    ignored = [re.compile(pattern) for pattern in ember.ignored]
    for count, member in enumerate(archive.members(), 1):
        signals.check()
        if count > ember.limits.members:
            faults.append(f"it has more than {ember.limits.members:,} members (ember.limits.members)")
            return
        name = names.relative(member.name)
        is_root = member.kind == FOLDER and name in {"", "."}
        if not is_root and not any(pattern.fullmatch(name) for pattern in ignored):
            yield member


def _fault(member: Member, name: str, prefix: str, limits: Limits) -> str:
    """What is wrong with one member as far as its header tells."""
    return names.fault(name, prefix) or _fault_of_kind(member) or _fault_of_size(member, limits)


def _fault_of_kind(member: Member) -> str:
    if member.kind in {ENCRYPTED, OTHERWISE_PACKED}:
        return f"it is {member.kind}"
    if member.kind not in {FILE, FOLDER}:
        return f"it is {member.kind}, not a file"
    if member.kind == FILE and member.name.endswith("/"):
        return "it is a file, and called like a folder"
    if member.kind == FOLDER and member.size:
        return f"it is a folder, and holds {member.size:,} bytes"
    return ""


def _fault_of_size(member: Member, limits: Limits) -> str:
    if member.size > limits.member_size:
        return f"it unpacks to {member.size:,} bytes, more than ember.limits.member_size"
    if member.packed and member.size > RATIO_JUDGED_ABOVE and member.size > limits.ratio * member.packed:
        return f"it unpacks to more than {limits.ratio} times its packed size (ember.limits.ratio)"
    return ""


def _excess(files: Sequence[Member], limits: Limits) -> Iterator[str]:
    """What all files together have too much of."""
    total, packed = sum(member.size for member in files), sum(member.packed for member in files)
    if total > limits.total_size:
        yield f"it unpacks to {total:,} bytes, more than ember.limits.total_size"
    if packed and total > RATIO_JUDGED_ABOVE and total > limits.ratio * packed:
        yield f"it unpacks to more than {limits.ratio} times its packed size (ember.limits.ratio)"


def _damaged(archive: Archive, files: Sequence[Member]) -> Iterator[str]:
    """The files that cannot be read to their end."""
    for member, opened in archive.contents(files):
        signals.check()
        try:
            with opened() as file:
                deque(content.pieces(file), maxlen=0)
        except archive.errors as error:
            yield said(member.name, f"it cannot be read: {error}")


def _clashes(files: Sequence[Member]) -> Iterator[str]:
    """Files that some system would take for one, by case or Unicode form, and files that hold files."""
    paths = [names.relative(member.name) for member in files]
    for earlier, later in names.clashes(paths):
        yield said(
            later,
            "it is there twice"
            if earlier == later
            else f"it differs from {names.spelled(earlier)} only by case or Unicode form",
        )
    known = {names.folded(path): path for path in paths}
    holders = {"": ""}  # for each folder the file that it, or one above it, is too

    def holder(folder: str) -> str:
        if folder not in holders:
            holders[folder] = holder(folder.rpartition("/")[0]) or known.get(folder, "")
        return holders[folder]

    for path in paths:
        if file := holder(names.folded(path).rpartition("/")[0]):
            yield said(path, f"{names.spelled(file)} is a file, and cannot hold it")


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


def said(name: str, fault: str) -> str:
    """A fault with the member it is of."""
    return f"{names.spelled(name)}: {fault}"


def refuse(faults: Sequence[str]) -> None:
    """Raise the Failure that lists `faults`, where there are any."""
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
