"""The revisions in a bucket: listed, looked at and completed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from tasks.lib.ember import content, listing, objects, reading, revision, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.member import FILE, Member
from tasks.lib.ember.plan import Plan, Send, plan
from tasks.lib.ember.remote import ABSENT, Item, Plain, Remote, remote_of
from tasks.lib.ember.revision import Revision
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure, UsageError

MANIFEST_HEADERS = Headers("application/json", "no-cache")


class Listed(NamedTuple):
    """The revisions at a prefix.

    Args:
        complete: those that can be activated, newest first.
        incomplete: names of those whose upload has not ended.
        pruned: names of those whose pruning was begun, and the generations of the marks that say so.
    """

    complete: list[Revision]
    incomplete: list[str]
    pruned: Mapping[str, int]


class Gone(Failure):
    """Something of a revision is not there, or not any more."""


def listed(pool: Pool, access: Access, prefix: str) -> Listed:
    """The revisions at `prefix`.

    What else somebody put there is none of them: an app in place may have a folder of that name.
    """
    complete: dict[str, Revision] = {}
    pruned: dict[str, int] = {}
    folders: list[str] = []
    start = prefix + revision.FOLDER
    for found in listing.pages(pool, access, {"prefix": start, "delimiter": "/"}):
        for item in found.items:
            one = _revision(item, start)
            if not revision.is_name(one.name) or item.name != revision.manifest_name(prefix, one.name):
                continue
            if revision.is_mark(item):
                pruned[one.name] = one.generation
            else:
                complete[one.name] = one
        names = (name.removeprefix(start).removesuffix("/") for name in found.prefixes)
        folders.extend(filter(revision.is_name, names))
    newest_first = sorted(complete.values(), key=lambda one: one.created, reverse=True)
    return Listed(
        newest_first, [name for name in folders if name not in complete and name not in pruned], pruned
    )


def observed(
    pool: Pool, access: Access, prefix: str, name: str, paths: Sequence[str]
) -> tuple[list[Remote], Item | None]:
    """What a revision that should have `paths` has: objects, and what the API says of the manifest.

    Where files are missing, a pruning may have removed them, and the manifest is asked for again: it may have
    been read before the pruning began.  Where it is a mark, the objects are those that were there after it.
    """
    found: list[Remote] = []
    manifests: list[Item] = []
    where, target = revision.folder(prefix, name), revision.manifest_name(prefix, name)
    pool.run([reading.looking_up(access, target, manifests), *listing.jobs(access, where, paths, found)])
    manifest = manifests[0] if manifests else None
    if manifest and not {where + path for path in paths} <= {one.name for one in found}:
        manifest = reading.look_up(pool, access, target)
    return listing.whole(pool, access, where, paths) if revision.is_mark(manifest) else found, manifest


def write_manifest(
    pool: Pool,
    access: Access,
    prefix: str,
    name: str,
    entries: Sequence[Entry],
    there: Item | None,
) -> None:
    """Mark a revision as complete; where it is so marked already, nothing is done.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where, with its slash.
        name: the revision.
        entries: all its files.
        there: what the API says of the manifest, or mark, that is there, if one is.

    Raises:
        Gone: it is being pruned.
        Failure: somebody else wrote another manifest.

    """
    target = revision.manifest_name(prefix, name)
    data = revision.manifest(entries, name)
    entry = made(target, data, MANIFEST_HEADERS)
    if there and remote_of(there).plain == Plain(entry.size, entry.crc32c):
        return
    send = Send(entry, target, int(there.generation) if there else ABSENT)
    try:
        pool.run([sending.small(access, send, data, objects.ignore, revision.notes(entries))])
    except objects.Changed as changed:
        now = reading.look_up(pool, access, target)
        if now is not None and not revision.is_mark(now):
            raise
        raise Gone(f"Revision {name} was pruned while it was being uploaded.",
                      "What is served at the prefix is as it was.",
                      "Run the same command again: it sends what is missing.") from changed  # fmt: skip


def expect_whole(pool: Pool, access: Access, prefix: str, name: str, entries: Sequence[Entry]) -> None:
    """Look whether all files of a revision are there.

    Raises:
        Gone: some are not.

    """
    where = revision.folder(prefix, name)
    there = listing.whole(pool, access, where, [entry.path for entry in entries])
    expect_all(name, plan(entries, where, there))


def known(revisions: Sequence[Revision], asked: str) -> str:
    """The full name of the revision that `asked` begins.

    Raises:
        UsageError: there is none, or more than one.

    """
    found = [one.name for one in revisions if one.name.startswith(asked)] if asked else []
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.name for one in revisions) or "none"
    reason = "More than one revision begins with" if found else "There is no complete revision"
    raise UsageError(f"{reason} {asked!r}.", f"Complete revisions: {names}.", "See `./inv ember.list`.")


def entries_in(pool: Pool, access: Access, prefix: str, name: str) -> list[Entry]:
    """The files of a complete revision, by its manifest.

    Raises:
        Gone: there is none.
        Failure: it is damaged.

    """
    manifest = revision.manifest_name(prefix, name)
    found: list[bytes] = []
    pool.run([reading.fetching(access, manifest, found)])
    if not found or found[0] == revision.mark(name):
        raise not_whole(name, [manifest])
    try:
        return revision.entries_of(found[0])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{manifest} is no manifest of a revision.", str(error),
                      "Upload its archive again: only the manifest is sent.") from error  # fmt: skip


def made(path: str, data: bytes, headers: Headers) -> Entry:
    """An entry for content that no archive holds."""
    return Entry(
        path, len(data), content.checksum([data]), b"", headers, True, Member(path, FILE, len(data), 0, None)
    )


def expect_all(name: str, missing: Plan) -> None:
    """Look whether a plan finds all files of a revision there.

    Raises:
        Gone: some are not.

    """
    wrong = [one.name for one in (*missing.last, *missing.send)] + [one.name for one in missing.relabel]
    if wrong:
        raise not_whole(name, wrong)


def not_whole(name: str, wrong: Sequence[str]) -> Gone:
    """The error for a revision of which these objects are missing."""
    return Gone(f"Revision {name} is not whole; nothing was activated.",
                   "\n".join(f"- {one} is missing or differs." for one in wrong),
                   "Upload its archive again: only what is missing is sent.")  # fmt: skip


def _revision(item: Item, start: str) -> Revision:
    noted = item.metadata
    created = datetime.fromisoformat(item.time_created)
    name = item.name.removeprefix(start).removesuffix(".json")
    files, size = (_count(noted.get(key, "")) for key in ("lookit-files", "lookit-size"))
    return Revision(name, created, files, size, int(item.generation))


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
