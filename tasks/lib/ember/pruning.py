"""Removing revisions, whatever else is done to them at the same time.

Nobody may be served a page whose files are gone, and Cloud Storage makes no change that spans objects.  But
it refuses a request for an object that is not of the generation named with it, gives every version of an
object a generation of its own, and takes 0 for there being none
(https://cloud.google.com/storage/docs/request-preconditions, .../metadata#generation-number there); reads and
listings show all that was answered before (https://cloud.google.com/storage/docs/consistency).  Hence:

- A pruning lists the files, then puts a mark in the place of the manifest by which the revision was chosen,
  then gives the page a new generation.  If the page does not need the revision then, it removes what it had
  listed, by generation, and the mark last.
- An activation asks for the page's generation, then for the manifest, then for the files, and writes the page
  over that generation (`activation.activate`).  One that saw the manifest before the mark knows the page from
  before it was renewed, and is refused; one that comes later sees the mark, or that files are gone.
- An upload that finds a mark takes no file for granted: it writes all of them again, so that they are not
  those that a pruning has listed, and then a manifest in the place of the mark.  One that finds a manifest
  but not all files asks for the manifest again: the pruning that removed them has replaced it.
- Where there is no page, 0 names no version of it: a page may have come and gone.  Hence an activation first
  writes one there that needs no file, and then its own over that.

A pruning that was broken off leaves its mark: the next one, or an upload, goes on from there.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from tasks.lib.ember import activation, copying, listing, objects, reading, revision, revisions, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.activation import Active
from tasks.lib.ember.plan import Send
from tasks.lib.ember.remote import ABSENT, PLAIN_KEY, Item, Remote
from tasks.lib.ember.revision import Revision
from tasks.lib.ember.survey import INDEX
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure

LEAST_AGE = timedelta(days=1)


def older(complete: Sequence[Revision], served: Active, keep: int, days: float) -> list[Revision]:
    """The revisions that pruning would remove now."""
    return revision.prunable(complete, served.history, keep, timedelta(days=days), datetime.now(UTC))


def abandoned(
    pool: Pool, access: Access, prefix: str, incomplete: Sequence[str], days: float, now: datetime
) -> list[str]:
    """The incomplete revisions to which nothing was written for so long: left by ended uploads.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where, with its slash.
        incomplete: their names.
        days: how long; an upload may be running, so it is a day at least.
        now: the time.

    """
    longest = max(timedelta(days=days), LEAST_AGE)
    served_now = activation.active(pool, access, prefix).name
    return [
        name
        for name in incomplete
        if name != served_now and now - _last_write(pool, access, revision.folder(prefix, name)) >= longest
    ]


def prune(pool: Pool, access: Access, prefix: str, name: str, generation: int) -> str:
    """Remove a revision; says what was done with it.

    What somebody activated meanwhile, or could roll back to now, stays.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where, with its slash.
        name: the revision.
        generation: of its manifest, or of the mark of a pruning that was begun, when it was chosen; ABSENT
            where there was none.  Where that is another by now, somebody else is at it, and it is left alone.

    Raises:
        Failure: it has to stay; the message says what is left of it.

    """
    complete = {one.name for one in revisions.listed(pool, access, prefix).complete}
    if name in revision.spared(activation.active(pool, access, prefix).history, complete):
        raise _needed(name)
    where, target = revision.folder(prefix, name), revision.manifest_name(prefix, name)
    before = reading.look_up(pool, access, target)
    manifest: list[bytes] = []
    if before and not revision.is_mark(before):
        pool.run([reading.fetching(access, target, manifest)])
    there = listing.whole(pool, access, where)
    marked = _marked(pool, access, target, name, generation)
    if not marked:
        return _left(pool, access, target)
    if name in revision.spared(_renewed(pool, access, prefix).history, complete):
        raise _unmarked(pool, access, name, before, manifest, marked)
    gone: list[str] = []
    written_anew: list[str] = []
    pool.run([objects.removed(access, one, gone.append, written_anew.append) for one in there])
    pool.run([objects.removed(access, marked, gone.append if before else objects.ignore, objects.ignore)])
    stays = f", but for {len(written_anew)} that an upload wrote anew meanwhile" if written_anew else ""
    return f"removed ({len(gone)} {'object' if len(gone) == 1 else 'objects'}{stays})"


def _marked(pool: Pool, access: Access, target: str, name: str, generation: int) -> Remote | None:
    """The mark that was put over `generation`; None where that is not there any more."""
    data = revision.mark(name)
    send = Send(revisions.made(target, data, revisions.MANIFEST_HEADERS), target, generation)
    # Without a text of its own, the mark of another pruning would be taken for this one's.
    notes = {revision.PRUNING_KEY: os.urandom(8).hex()}
    generations: list[int] = []
    try:
        written = sending.small(access, send, data, objects.ignore, notes, generations.append)
        pool.run([objects.paced(access, target, written)])
    except objects.Changed:
        return None
    return _of_generation(target, generations[0])


def _left(pool: Pool, access: Access, target: str) -> str:
    """What is to be said of a revision that somebody else was faster with."""
    now = reading.look_up(pool, access, target)
    if now and not revision.is_mark(now):
        return "stays: it was uploaded meanwhile"
    return "is left to another pruning that is at it" if now else "was removed by another pruning"


def _renewed(pool: Pool, access: Access, prefix: str) -> Active:
    """What is served, after its page was given a new generation."""
    before = activation.active(pool, access, prefix)
    if before.generation != ABSENT:
        renewed = copying.renewed(access, prefix + INDEX, before.generation)
        pool.run([objects.paced(access, prefix + INDEX, renewed)])
    return activation.active(pool, access, prefix)


def _unmarked(
    pool: Pool, access: Access, name: str, before: Item | None, manifest: Sequence[bytes],
    marked: Remote,
) -> Failure:  # fmt: skip
    """The error for a revision that is needed after all, once what was there before its mark is back.

    A mark that was put over another one stays: that other pruning may be removing files.
    """
    with suppress(objects.Changed):
        if before is None:
            pool.run([objects.removed(access, marked, objects.ignore, objects.ignore)])
        elif manifest:
            data = manifest[0]
            entry = revisions.made(marked.name, data, revisions.MANIFEST_HEADERS)
            notes = {key: text for key, text in before.metadata.items() if key != PLAIN_KEY}
            send = Send(entry, marked.name, marked.generation)
            back = sending.small(access, send, data, objects.ignore, notes)
            pool.run([objects.paced(access, marked.name, back)])
    if revision.is_mark(before):
        return Failure(f"Revision {name} was activated while it was being pruned.",
                       "Its files are there, its manifest is gone.",
                       "Upload its archive again: the files are copied onto themselves.")  # fmt: skip
    return _needed(name)


def _needed(name: str) -> Failure:
    return Failure(f"Revision {name} was activated while it was being pruned.",
                   "It is active, or the one that a rollback would go to: nothing of it was removed.",
                   "Run the same command again for the others.")  # fmt: skip


def _of_generation(name: str, generation: int) -> Remote:
    return Remote(name, 0, 0, revisions.MANIFEST_HEADERS, "", None, generation)


def _last_write(pool: Pool, access: Access, folder: str) -> datetime:
    """When an object of a folder, which has some, was written last."""
    fields = "items(name,generation,timeCreated),nextPageToken"
    found = listing.pages(pool, access, {"prefix": folder, "fields": fields})
    written = [item.time_created for page in found for item in page.items]
    return max(datetime.fromisoformat(one) for one in written) if written else datetime.now(UTC)
