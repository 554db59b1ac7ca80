"""The revisions in a bucket: listed, activated, rolled back and pruned."""

import json
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from tasks.lib.ember import content, objects, page, revision, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.inspection import INDEX, Entry
from tasks.lib.ember.member import FILE, Member
from tasks.lib.ember.persistence import ask, refused
from tasks.lib.ember.plan import ABSENT, Plain, Send, plan
from tasks.lib.ember.revision import Revision
from tasks.lib.ember.wire import Job, Pool, Request, Steps
from tasks.lib.errors import Failure, UsageError

HISTORY_KEY = "lookit-history"
ACTIVATION_KEY = "lookit-activation"
PAGE_HEADERS = Headers("text/html; charset=utf-8", "no-cache")
MANIFEST_HEADERS = Headers("application/json", "no-cache")


@dataclass(frozen=True, slots=True)
class Active:
    """What is served at a prefix: the revisions activated there, the last first; the page's generation."""

    history: Sequence[str]
    generation: int

    @property
    def name(self) -> str:
        """The active revision; empty where there is none."""
        return self.history[0] if self.history else ""


def active(pool: Pool, access: Access, prefix: str) -> Active:
    """What is served at `prefix`.

    Raises:
        Failure: the bucket could not be asked.

    """
    found = look_up(pool, access, prefix + INDEX)
    if found is None:
        return Active((), ABSENT)
    noted = found.get("metadata", {}).get(HISTORY_KEY, "")
    return Active(tuple(noted.split(",")) if noted else (), int(found["generation"]))


def listed(pool: Pool, access: Access, prefix: str) -> tuple[list[Revision], list[str]]:
    """The complete revisions at `prefix`, newest first, and the names of incomplete ones."""
    complete: dict[str, Revision] = {}
    folders: list[str] = []
    start = prefix + revision.FOLDER
    for found in _folder_pages(pool, access, start):
        for item in found.get("items", ()):
            one = _revision(item, start)
            complete[one.name] = one
        folders.extend(name.removeprefix(start).rstrip("/") for name in found.get("prefixes", ()))
    newest_first = sorted(complete.values(), key=lambda one: one.created, reverse=True)
    return newest_first, [name for name in folders if name not in complete]


def write_manifest(pool: Pool, access: Access, prefix: str, name: str, entries: Sequence[Entry]) -> None:
    """Mark a revision as complete; where it is marked already, nothing is done."""
    target = revision.manifest_name(prefix, name)
    data = revision.manifest(entries, name)
    there = look_up(pool, access, target)
    entry = made(target, data, MANIFEST_HEADERS)
    if there and objects.remote(there).plain == Plain(entry.size, entry.crc32c):
        return
    send = Send(entry, target, int(there["generation"]) if there else ABSENT)
    pool.run([sending.small(access, send, data, _ignore, revision.notes(entries))])


def activate(
    pool: Pool, access: Access, prefix: str, name: str, history: Sequence[str], generation: int
) -> None:
    """Serve revision `name` at `prefix`.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where, with its slash.
        name: a complete revision.
        history: what is to be remembered from now on, `name` first.
        generation: the page that is served now; if it is another by the time of writing, nothing is changed.

    Raises:
        Failure: the revision is not whole, its page cannot be based, or another activation came first.

    """
    _expect_whole(pool, access, prefix, name)
    index = fetched(pool, access, revision.folder(prefix, name) + INDEX)
    data = page.based(index, f"{revision.FOLDER}{name}/")
    send = Send(made(prefix + INDEX, data, PAGE_HEADERS), prefix + INDEX, generation)
    notes = {HISTORY_KEY: ",".join(history), ACTIVATION_KEY: secrets.token_hex(8)}
    try:
        pool.run([sending.small(access, send, data, _ignore, notes)])
    except objects.Changed as changed:
        now = active(pool, access, prefix)
        raise Failure(
            f"Revision {name} was not activated: another activation came first.",
            f"{now.name or 'A page that is no revision'} is active now.",
            "Look at it with `ember.list`, and activate again if yours is the one to serve.",
        ) from changed


def prune(pool: Pool, access: Access, prefix: str, names: Sequence[str]) -> int:
    """Remove revisions; returns how many objects went.

    A manifest goes first: a revision without it cannot be activated any more.  What somebody activated
    meanwhile stays.
    """
    removed: list[str] = []
    for name in names:
        manifest = look_up(pool, access, revision.manifest_name(prefix, name))
        if manifest:
            pool.run([objects.removed(access, objects.remote(manifest), removed.append)])
        if active(pool, access, prefix).name == name:
            raise Failure(f"Revision {name} was activated while it was being pruned.",
                          "Its manifest is gone, its files are all there.",
                          "Upload its archive again: only the manifest is sent.")  # fmt: skip
        there = objects.listing(pool, access, revision.folder(prefix, name))
        pool.run([objects.removed(access, remote, removed.append) for remote in list(there)])
    return len(removed)


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
    """The files of a complete revision, by its manifest."""
    return revision.entries_of(fetched(pool, access, revision.manifest_name(prefix, name)))


def look_up(pool: Pool, access: Access, name: str) -> Mapping[str, Any] | None:
    """What the API says of an object; None where there is none."""
    found: list[Mapping[str, Any]] = []

    def steps() -> Steps:
        query = urlencode({"fields": f"{objects.FIELDS},timeCreated"})
        request = Request("GET", f"{access.object_url(name)}?{query}")
        response = yield from ask(request, access, access.deadline())
        if response.status == 200:
            found.append(json.loads(response.body))
        elif response.status != 404:
            raise refused(response, access, f"{name} could not be looked up.")

    pool.run([Job(steps())])
    return found[0] if found else None


def fetched(pool: Pool, access: Access, name: str) -> bytes:
    """The content of a small object, unpacked.

    Raises:
        Failure: it is not there, or arrived damaged.

    """
    found: list[bytes] = []

    def steps() -> Steps:
        request = Request("GET", f"{access.object_url(name)}?alt=media", ("Accept-Encoding: gzip",))
        response = yield from ask(request, access, access.deadline())
        if response.status != 200:
            raise refused(response, access, f"{name} could not be read.")
        try:
            found.append(content.unpacked(response.body, response.header("content-encoding")))
        except zlib.error as error:
            raise Failure(f"{name} arrived damaged.", str(error), "Run the same command again.") from error

    pool.run([Job(steps())])
    return found[0]


def made(path: str, data: bytes, headers: Headers) -> Entry:
    """An entry for content that no archive holds."""
    return Entry(
        path, len(data), content.checksum([data]), b"", headers, True, Member(path, FILE, len(data), 0, None)
    )


def _expect_whole(pool: Pool, access: Access, prefix: str, name: str) -> None:
    where = revision.folder(prefix, name)
    entries = entries_in(pool, access, prefix, name)
    missing = plan(entries, where, objects.listing(pool, access, where))
    if missing.changes:
        wrong = [one.name for one in (*missing.last, *missing.send)] + [one.name for one in missing.relabel]
        raise Failure(f"Revision {name} is not whole; nothing was activated.",
                      "\n".join(f"- {one} is missing or differs." for one in wrong),
                      "Upload its archive again: only what is missing is sent.")  # fmt: skip


def _folder_pages(pool: Pool, access: Access, start: str) -> Iterator[Mapping[str, Any]]:
    token = ""
    while True:
        query = {"prefix": start, "delimiter": "/", "maxResults": str(objects.PAGE), "pageToken": token}
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
