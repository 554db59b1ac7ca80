"""The revisions in a bucket: listed, activated, rolled back and pruned."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from tasks.lib.ember import content, copying, objects, reading, revision, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.member import FILE, Member
from tasks.lib.ember.plan import ABSENT, Plain, Remote, Send, plan
from tasks.lib.ember.revision import Revision
from tasks.lib.ember.survey import INDEX
from tasks.lib.ember.wire import Pool, Request
from tasks.lib.errors import Failure, UsageError

HISTORY_KEY = "lookit-history"
ACTIVATION_KEY = "lookit-activation"
LEAST_AGE = timedelta(days=1)
PAGE_HEADERS = Headers("text/html; charset=utf-8", "no-cache")
MANIFEST_HEADERS = Headers("application/json", "no-cache")


@dataclass(frozen=True, slots=True)
class Active:
    """What is served at a prefix.

    Args:
        history: the revisions activated there, the last first.
        generation: the page's.
        as_written: whether the page still has the headers that an activation gives it.
    """

    history: Sequence[str]
    generation: int
    as_written: bool = True

    @property
    def name(self) -> str:
        """The active revision; empty where there is none."""
        return self.history[0] if self.history else ""


def active(pool: Pool, access: Access, prefix: str) -> Active:
    """What is served at `prefix`.

    Raises:
        Failure: the bucket could not be asked.

    """
    found = reading.look_up(pool, access, prefix + INDEX)
    if found is None:
        return Active((), ABSENT)
    noted = found.get("metadata", {}).get(HISTORY_KEY, "")
    page = objects.remote(found)
    return Active(tuple(noted.split(",")) if noted else (), page.generation, page.headers == PAGE_HEADERS)


def listed(pool: Pool, access: Access, prefix: str) -> tuple[list[Revision], list[str]]:
    """The complete revisions at `prefix`, newest first, and the names of incomplete ones.

    What else somebody put there is none of them: an app in place may have a folder of that name.
    """
    complete: dict[str, Revision] = {}
    folders: list[str] = []
    start = prefix + revision.FOLDER
    for found in _folder_pages(pool, access, start):
        for item in found.get("items", ()):
            one = _revision(item, start)
            if revision.is_name(one.name) and item["name"] == revision.manifest_name(prefix, one.name):
                complete[one.name] = one
        names = (name.removeprefix(start).removesuffix("/") for name in found.get("prefixes", ()))
        folders.extend(filter(revision.is_name, names))
    newest_first = sorted(complete.values(), key=lambda one: one.created, reverse=True)
    return newest_first, [name for name in folders if name not in complete]


def observed(
    pool: Pool, access: Access, prefix: str, name: str, paths: Sequence[str]
) -> tuple[list[Remote], Mapping[str, Any] | None]:
    """What a revision that should have `paths` has: objects, and what the API says of the manifest."""
    found: list[Remote] = []
    manifests: list[Mapping[str, Any]] = []
    look = reading.looking_up(access, revision.manifest_name(prefix, name), manifests)
    pool.run([look, *objects.listing_jobs(access, revision.folder(prefix, name), paths, found)])
    return found, manifests[0] if manifests else None


def served(pool: Pool, access: Access, prefix: str) -> tuple[Active, list[Entry]]:
    """What is served at `prefix`, and the files of that revision as far as its manifest can be read."""
    now = active(pool, access, prefix)
    if not now.name:
        return now, []
    try:
        return now, entries_in(pool, access, prefix, now.name)
    except Failure:
        return now, []


def write_manifest(
    pool: Pool,
    access: Access,
    prefix: str,
    name: str,
    entries: Sequence[Entry],
    there: Mapping[str, Any] | None,
) -> None:
    """Mark a revision as complete; where it is so marked already, nothing is done.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where, with its slash.
        name: the revision.
        entries: all its files.
        there: what the API says of the manifest that is there, if one is.

    """
    target = revision.manifest_name(prefix, name)
    data = revision.manifest(entries, name)
    entry = made(target, data, MANIFEST_HEADERS)
    if there and objects.remote(there).plain == Plain(entry.size, entry.crc32c):
        return
    send = Send(entry, target, int(there["generation"]) if there else ABSENT)
    pool.run([sending.small(access, send, data, _ignore, revision.notes(entries))])


def activate(
    pool: Pool, access: Access, prefix: str, name: str, history: Sequence[str], served: Active,
    entries: Sequence[Entry] = (),
) -> None:  # fmt: skip
    """Serve revision `name` at `prefix`.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where, with its slash.
        name: a complete revision.
        history: what is to be remembered from now on, `name` first.
        served: what is served now; if it is something else by the time of writing, nothing is changed.
        entries: the revision's files where they are known; else its manifest is read.

    Raises:
        Failure: the revision is not whole, its page cannot be based, or another activation came first.

    """
    from tasks.lib.ember import page

    index = _index_of_whole(pool, access, prefix, name, entries or entries_in(pool, access, prefix, name))
    data = page.based(index, f"{revision.FOLDER}{name}/")
    send = Send(made(prefix + INDEX, data, PAGE_HEADERS), prefix + INDEX, served.generation)
    notes = {HISTORY_KEY: ",".join(history), ACTIVATION_KEY: secrets.token_hex(8)}
    try:
        pool.run([sending.small(access, send, data, _ignore, notes)])
    except objects.Changed as changed:
        now = active(pool, access, prefix)
        if now.name and now.history == served.history:
            # A pruning renewed the page: was this revision what it removed?
            activate(pool, access, prefix, name, history, now, entries)
            return
        raise Failure(
            f"Revision {name} was not activated: another activation came first.",
            f"{now.name or 'A page that is no revision'} is active now.",
            "Look at it with `ember.list`, and activate again if yours is the one to serve.",
        ) from changed


def prune(pool: Pool, access: Access, prefix: str, names: Sequence[str]) -> int:
    """Remove revisions; returns how many objects went.

    A manifest goes first: a revision without it cannot be activated any more.  The page is renewed next: an
    activation that found the manifest before is refused its write, and looks again.  What somebody activated
    meanwhile, or could roll back to now, stays.

    Raises:
        Failure: one has to stay; the message says what is left of it.

    """
    removed: list[str] = []
    for name in names:
        complete = {one.name for one in listed(pool, access, prefix)[0]}
        if name in revision.spared(active(pool, access, prefix).history, complete):
            raise Failure(f"Revision {name} was activated while it was being pruned.",
                          "It is active, or the one that a rollback would go to: nothing of it was removed.",
                          "Run the same command again for the others.")  # fmt: skip
        manifest = reading.look_up(pool, access, revision.manifest_name(prefix, name))
        if manifest:
            pool.run([objects.removed(access, objects.remote(manifest), removed.append)])
        if _renewed(pool, access, prefix).name == name:
            raise Failure(f"Revision {name} was activated while it was being pruned.",
                          "Its manifest is gone, its files are all there.",
                          "Upload its archive again: only the manifest is sent.")  # fmt: skip
        there = objects.listing(pool, access, revision.folder(prefix, name))
        pool.run([objects.removed(access, remote, removed.append) for remote in list(there)])
    return len(removed)


def abandoned(
    pool: Pool, access: Access, prefix: str, incomplete: Sequence[str], days: float, now: datetime
) -> list[str]:
    """The incomplete revisions to which nothing was written for so long: left by ended uploads or prunings.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where, with its slash.
        incomplete: their names.
        days: how long; an upload may be running, so it is a day at least.
        now: the time.

    """
    longest = max(timedelta(days=days), LEAST_AGE)
    served_now = active(pool, access, prefix).name
    return [
        name
        for name in incomplete
        if name != served_now and now - _last_write(pool, access, revision.folder(prefix, name)) >= longest
    ]


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


def older(revisions: Sequence[Revision], served: Active, keep: int, days: float) -> list[Revision]:
    """The revisions that pruning would remove now."""
    return revision.prunable(revisions, served.history, keep, timedelta(days=days), datetime.now(UTC))


def entries_in(pool: Pool, access: Access, prefix: str, name: str) -> list[Entry]:
    """The files of a complete revision, by its manifest.

    Raises:
        Failure: there is none, or it is damaged.

    """
    manifest = revision.manifest_name(prefix, name)
    data = reading.fetched(pool, access, manifest)
    try:
        return revision.entries_of(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{manifest} is no manifest of a revision.", str(error),
                      "Upload its archive again: only the manifest is sent.") from error  # fmt: skip


def made(path: str, data: bytes, headers: Headers) -> Entry:
    """An entry for content that no archive holds."""
    return Entry(
        path, len(data), content.checksum([data]), b"", headers, True, Member(path, FILE, len(data), 0, None)
    )


def _renewed(pool: Pool, access: Access, prefix: str) -> Active:
    """What is served, after its page was given a new generation."""
    before = active(pool, access, prefix)
    if before.generation != ABSENT:
        pool.run([copying.renewed(access, prefix + INDEX, before.generation)])
    return active(pool, access, prefix)


def _index_of_whole(pool: Pool, access: Access, prefix: str, name: str, entries: Sequence[Entry]) -> bytes:
    """The index.html of a revision of which nothing is missing."""
    where = revision.folder(prefix, name)
    there: list[Remote] = []
    pages: list[bytes] = []
    manifests: list[Mapping[str, Any]] = []
    manifest = revision.manifest_name(prefix, name)
    listing = objects.listing_jobs(access, where, [entry.path for entry in entries], there)
    look = reading.looking_up(access, manifest, manifests)
    pool.run([look, *listing, reading.fetching(access, where + INDEX, pages)])
    missing = plan(entries, where, there)
    if missing.changes or not pages or not manifests:
        wrong = [one.name for one in (*missing.last, *missing.send)] + [one.name for one in missing.relabel]
        wrong += [] if manifests else [manifest]
        raise Failure(f"Revision {name} is not whole; nothing was activated.",
                      "\n".join(f"- {one} is missing or differs." for one in wrong),
                      "Upload its archive again: only what is missing is sent.")  # fmt: skip
    return pages[0]


def _last_write(pool: Pool, access: Access, folder: str) -> datetime:
    """When an object of a folder, which has some, was written last."""
    pages = _pages(pool, access, {"prefix": folder, "fields": "items(timeCreated),nextPageToken"})
    written = [item["timeCreated"] for found in pages for item in found.get("items", ())]
    return max(datetime.fromisoformat(one) for one in written) if written else datetime.now(UTC)


def _folder_pages(pool: Pool, access: Access, start: str) -> Iterator[Mapping[str, Any]]:
    return _pages(pool, access, {"prefix": start, "delimiter": "/"})


def _pages(pool: Pool, access: Access, asked: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    token = ""
    while True:
        query = {**asked, "maxResults": str(objects.PAGE), "pageToken": token}
        request = Request("GET", f"{access.objects_url()}?{urlencode({k: v for k, v in query.items() if v})}")
        found = objects.asked(pool, access, request, f"The bucket {access.bucket} could not be listed.")
        yield found
        token = found.get("nextPageToken", "")
        if not token:
            return


def _revision(item: Mapping[str, Any], start: str) -> Revision:
    noted = item.get("metadata", {})
    created = datetime.fromisoformat(item["timeCreated"])
    name = item["name"].removeprefix(start).removesuffix(".json")
    return Revision(name, created, int(noted.get("lookit-files", 0)), int(noted.get("lookit-size", 0)))


def _ignore(_send: Send, _size: int) -> None:
    """Nothing needs counting."""
