"""The revisions of an app: their names, their manifests, and which of them are there.

A manifest is written before the files that it lists.  So a revision may lack some, after an upload that was
ended; whoever activates one looks.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from tasks.lib.ember import content, listing, objects, sending
from tasks.lib.ember.entry import Entry
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.http import Job, Steps
from tasks.lib.ember.objects import ABSENT, Item, Plain, remote_of
from tasks.lib.ember.place import MANIFEST, PRUNING, Place
from tasks.lib.ember.plan import DIGEST_NOTED, Send, Version
from tasks.lib.errors import Failure, UsageError

LENGTH = 12
MANIFEST_HEADERS = Headers("application/json", "no-cache")
# The key of an object's own metadata that says when a revision was uploaded whose manifest was claimed since.
UPLOADED_KEY = "lookit-uploaded"
# How many activations are remembered for rolling back.
REMEMBERED = 20


class Revision(Struct, frozen=True):
    """A revision as its manifest's object tells of it.

    Args:
        size: the bytes of all of them, before compression.
        noted: the size and the CRC32C of its manifest.
        claimed: whether it was to be activated where there was no page.
    """

    name: str
    created: datetime
    files: int
    size: int
    generation: int
    noted: Plain | None = None
    claimed: bool = False


class Listed(Struct):
    """What lies directly in the folder of revisions.

    Args:
        revisions: by name, newest first.
        prunings: the lists of prunings that have not ended.
    """

    revisions: dict[str, Revision]
    prunings: list[Item]

    def generation(self, name: str) -> int:
        """A manifest's."""
        return self.revisions[name].generation if name in self.revisions else ABSENT


class Gone(Failure):
    """Something of a revision is not there, or not any more."""


def identity(entries: Iterable[Entry]) -> str:
    """The name of the revision with exactly these files: a hash of paths and contents."""
    noted = sorted(f"{entry.digest.hex() or [entry.size, entry.crc32c]} {entry.path}" for entry in entries)
    return hashlib.sha256("\n".join(noted).encode()).hexdigest()[:LENGTH]


def listed(place: Place) -> Listed:
    """The revisions at a place."""
    return place.pool.ask(listing_of(place))


def listing_of(place: Place) -> Steps[Listed]:
    """The revisions at a place; what else somebody put into their folder is none of them."""
    found = Listed({}, [])
    for item in (yield from listing.directly_in(place.access, place.revisions)):
        path = place.path(item.name)
        if PRUNING.fullmatch(path):
            found.prunings.append(item)
        elif match := MANIFEST.fullmatch(path):
            found.revisions[match[1]] = _revision(match[1], item)
    newest_first = sorted(found.revisions.values(), key=lambda one: one.created, reverse=True)
    found.revisions = {one.name: one for one in newest_first}
    return found


def entries_of(place: Place, names: Collection[str]) -> dict[str, list[Entry]]:
    """The files of revisions, by name; a revision whose manifest is gone is left out.

    Raises:
        Failure: a manifest is damaged.

    """
    asked = [Job(objects.fetch(place.access, place.manifest(name))) for name in names]
    found = zip(names, place.pool.run(asked), strict=True)
    return {name: _entries(place.manifest(name), data) for name, data in found if data}


def doomed(place: Place, prunings: Sequence[Item]) -> set[Version]:
    """The objects that prunings are about to remove, each of one generation."""
    asked = [Job(objects.fetch(place.access, item.name)) for item in prunings]
    return {
        (name, generation) for data in place.pool.run(asked) if data for name, generation in json.loads(data)
    }


def announce(place: Place, name: str, entries: Sequence[Entry], found: Listed) -> int:
    """Write a revision's manifest where it is not there; its generation.

    Raises:
        Gone: somebody else removed or wrote it meanwhile.

    """
    entry = made(place.manifest(name), manifest(entries, name), MANIFEST_HEADERS)
    there, generation = found.revisions.get(name), found.generation(name)
    if there and there.noted == Plain(entry.size, entry.crc32c):
        return generation
    try:
        return _write(place, name, entries, generation, there.created if there and there.claimed else None)
    except objects.Changed as changed:
        raise gone(name, "Another upload, or a pruning, wrote its manifest meanwhile.") from changed


def claim(place: Place, entries: Sequence[Entry], revision: Revision) -> None:
    """Give a manifest another generation, and a note, before its revision is activated where no page is.

    A pruning that listed it before cannot remove it any more; one that lists it now leaves it alone.

    Raises:
        Changed: somebody else removed or wrote it meanwhile.

    """
    _write(place, revision.name, entries, revision.generation, revision.created)


def _write(
    place: Place, name: str, entries: Sequence[Entry], generation: int, uploaded: datetime | None
) -> int:
    data = manifest(entries, name)
    target = place.manifest(name)
    notes = {
        "lookit-files": str(len(entries)),
        "lookit-size": str(sum(entry.size for entry in entries)),
        **({UPLOADED_KEY: uploaded.isoformat()} if uploaded else {}),
    }
    send = Send(made(target, data, MANIFEST_HEADERS), target, generation)
    return place.pool.ask(sending.write(place.access, send, data, notes)).generation


def manifest(entries: Iterable[Entry], name: str) -> bytes:
    """What a revision consists of, as JSON."""
    files = {
        e.path: [
            e.size, f"{e.crc32c:08x}", e.headers.content_type, e.headers.cache_control, e.compressible,
            e.digest[:DIGEST_NOTED].hex(), e.shared,
        ]
        for e in sorted(entries, key=lambda entry: entry.path)
    }  # fmt: skip
    return json.dumps({"revision": name, "files": files}, separators=(",", ":"), ensure_ascii=False).encode()


def made(path: str, data: bytes, headers: Headers) -> Entry:
    """An entry for content that no archive holds."""
    return Entry(path, len(data), content.checksum([data]), b"", headers, compressible=True)


def known(revisions: Collection[str], asked: str) -> str:
    """The full name of the revision that `asked` begins.

    Raises:
        UsageError: there is none, or more than one.

    """
    found = [name for name in revisions if name.startswith(asked)] if asked else []
    if len(found) == 1:
        return found[0]
    reason = "More than one revision begins with" if found else "There is no revision"
    names = ", ".join(revisions) or "none"
    raise UsageError(f"{reason} {asked!r}.", f"Revisions: {names}.", "See `./inv ember.list`.")


def gone(name: str, why: str) -> Gone:
    """The error for a revision that cannot be served as it is."""
    return Gone(
        f"Revision {name} is not complete; nothing was activated.",
        why,
        "Upload its archive again: only what is missing is sent.",
    )


def activated(history: Sequence[str], name: str) -> list[str]:
    """The history after activating `name`; the first is the active revision."""
    if history and history[0] == name:
        return list(history)
    return [name, *history][:REMEMBERED]


def rolled_back(history: Sequence[str], there: Collection[str]) -> list[str]:
    """The history after going back to the revision before that is still there; empty where there is none."""
    before = list(history[1:])
    while before and before[0] not in there:
        before.pop(0)
    return before


def spared(history: Sequence[str], there: Collection[str]) -> set[str]:
    """What is never pruned: the active revision, and the one that a rollback would go back to."""
    return {*history[:1], *rolled_back(history, there)[:1]}


def prunable(
    revisions: Iterable[Revision], history: Sequence[str], keep: int, older_than: timedelta, now: datetime
) -> list[Revision]:
    """The revisions that may go, oldest first.

    The active one stays, the one that a rollback would go back to, the newest `keep`, and all that are not
    older than `older_than`.
    """
    by_age = sorted(revisions, key=lambda revision: revision.created)
    needed = spared(history, {revision.name for revision in by_age})
    beyond = by_age[: max(0, len(by_age) - keep)]
    return [r for r in beyond if r.name not in needed and now - r.created > older_than]


def _revision(name: str, item: Item) -> Revision:
    created = datetime.fromisoformat(item.metadata.get(UPLOADED_KEY, item.time_created))
    files, size = (_count(item.metadata.get(key, "")) for key in ("lookit-files", "lookit-size"))
    claimed = UPLOADED_KEY in item.metadata
    return Revision(name, created, files, size, int(item.generation), remote_of(item).plain, claimed)


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _entries(target: str, data: bytes) -> list[Entry]:
    try:
        files: Mapping[str, list[Any]] = json.loads(data)["files"]
        return [_entry(path, noted) for path, noted in files.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"{target} is no manifest of a revision.",
            str(error),
            "Upload its archive again: only the manifest is sent.",
        ) from error


def _entry(path: str, noted: list[Any]) -> Entry:
    size, crc32c, content_type, cache_control, compressible = noted[:5]
    # Earlier versions noted no digest, or kept every file in the revision's own folder.
    digest = noted[5] if len(noted) > 5 else ""
    shared = len(noted) > 6 and bool(noted[6])
    headers = objects.shared_headers(content_type, cache_control)
    return Entry(path, size, int(crc32c, 16), bytes.fromhex(digest), headers, compressible, shared)
