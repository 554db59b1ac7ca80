"""Bringing an app to a bucket: read and judge the archive, look what is there, decide, send, activate."""

import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import TypeVar

from msgspec.structs import replace

from tasks.lib.ember import activation, revision, revisions, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.acting import Acting
from tasks.lib.ember.archive import open_archive
from tasks.lib.ember.inspection import Inventory, inspect, read
from tasks.lib.ember.listing import Listing
from tasks.lib.ember.member import Archive
from tasks.lib.ember.names import checked_prefix
from tasks.lib.ember.plan import Plan, anew, copying, plan
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.question import Question
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.survey import INDEX, survey
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Ember

Found = TypeVar("Found")
# How often an upload begins, where a pruning takes away what it found there.
MOST_ROUNDS = 3


def upload_with(
    pool: Pool, access: Access, ember: Ember, source: str, prefix: str, options: Options,
    progress: Progress, listing: Listing | None = None,
) -> UploadSummary:  # fmt: skip
    """As `upload_to` in tasks/lib/ember/upload.py, through a pool that serves nothing else.

    Args:
        pool: sends the requests.
        access: the bucket.
        ember: limits and header rules.
        source: the archive.
        prefix: where in the bucket.
        options: how.
        progress: is told how far it is.
        listing: of the prefix, where it was begun already; whoever began it ends it.

    """
    started = time.monotonic()
    prefix = checked_prefix(prefix)
    summary = UploadSummary(access.public_url(prefix + INDEX))
    with closing(open_archive(source, ember.limits)) as archive:
        if options.in_place:
            # Whoever began it ends it: to do so twice would wait twice for a token service that hangs.
            with nullcontext(listing) if listing else Listing(pool, access, prefix) as begun:
                _in_place(archive, begun, pool, access, ember, prefix, options, summary, progress)
        else:
            _in_rounds(archive, pool, access, ember, prefix, options, summary, progress)
    summary.requests = pool.traffic.requests
    summary.connections = pool.traffic.connections
    summary.seconds = time.monotonic() - started
    return summary


def _in_place(
    archive: Archive, listing: Listing, pool: Pool, access: Access, ember: Ember, prefix: str,
    options: Options, summary: UploadSummary, progress: Progress,
) -> None:  # fmt: skip
    """The plain layout: the app's files at the prefix itself."""
    # What is packed as a whole is not read once more only to know what to expect.
    known = survey(archive, prefix, ember) if archive.independent else None
    listing.expect(known.paths if known else ())
    inventory = read(archive, known or survey(archive, prefix, ember), ember, digests=False)
    _judge(inventory, options, summary)
    apart = prefix + revision.FOLDER
    decided = plan(inventory.entries, prefix, listing.wait())
    decided = replace(decided, extra=[there for there in decided.extra if not there.name.startswith(apart)])
    _note(summary, inventory, decided)
    if options.dry_run:
        return
    acting = _acting(archive, inventory, pool, access, ember, summary, progress)
    acting.carry_out(decided)
    if options.delete_extra:
        acting.remove(decided)


def _in_rounds(
    archive: Archive, pool: Pool, access: Access, ember: Ember, prefix: str, options: Options,
    summary: UploadSummary, progress: Progress,
) -> None:  # fmt: skip
    """As a revision, once more from the beginning where a pruning takes away what was found there."""
    for left in reversed(range(MOST_ROUNDS)):
        try:
            _as_revision(archive, pool, access, ember, prefix, options, summary, progress)
            break
        except revisions.Gone:
            if not left:
                raise


def _as_revision(
    archive: Archive, pool: Pool, access: Access, ember: Ember, prefix: str, options: Options,
    summary: UploadSummary, progress: Progress,
) -> None:  # fmt: skip
    """A folder of its own beside other revisions, then its manifest, then the page that leads to it."""
    # The name of the longest revision stands in: names are judged before the hash is known.
    longest = revision.folder(prefix, "0" * revision.LENGTH)
    inventory, (served, earlier) = _side_by_side(
        pool, lambda: inspect(archive, longest, ember), lambda: activation.served(pool, access, prefix)
    )
    _judge(inventory, options, summary)
    entries = inventory.entries
    name = summary.revision = revision.identity(entries)
    where = revision.folder(prefix, name)
    there, manifest = revisions.observed(pool, access, prefix, name, [entry.path for entry in entries])
    needed = (anew if revision.is_mark(manifest) else plan)(entries, where, there)
    decided = copying(needed, earlier, revision.folder(prefix, served.name))
    _note(summary, inventory, decided)
    summary.active = served.name
    if options.dry_run:
        return
    acting = _acting(archive, inventory, pool, access, ember, summary, progress)
    acting.carry_out(decided)
    revisions.write_manifest(pool, access, prefix, name, entries, manifest)
    if options.activate and not (served.name == name and served.as_written):
        history = revision.activated(served.history, name)
        activation.activate(pool, access, prefix, name, history, served, entries)
        summary.active = name
    elif revision.is_mark(manifest) or (there and manifest is None):
        revisions.expect_whole(pool, access, prefix, name, entries)
    if options.delete_extra:
        acting.remove(decided)


def _judge(inventory: Inventory, options: Options, summary: UploadSummary) -> None:
    """Refuse an app that no browser could run, or note what is wrong with it where that is allowed."""
    summary.broken = inventory.broken
    if inventory.broken and not options.allow_broken:
        raise Failure(
            "No browser could run this app, so nothing was uploaded.",
            "\n".join(f"- {fault}" for fault in inventory.broken),
            "Build it again: no plugin may compress files under their own names, and what index.html names "
            "has to be there. Or upload it as it is: --allow-broken",
        )


def _acting(
    archive: Archive, inventory: Inventory, pool: Pool, access: Access, ember: Ember, summary: UploadSummary,
    progress: Progress,
) -> Acting:  # fmt: skip
    sizes = sending.Sizes(ember.resumable_above, ember.resumable_part)
    return Acting(archive, inventory, pool, access, sizes, summary, progress)


def _note(summary: UploadSummary, inventory: Inventory, decided: Plan) -> None:
    summary.files = len(inventory.entries)
    summary.unchanged = decided.unchanged
    summary.to_send = [change.name for change in (*decided.send, *decided.last)]
    summary.to_copy = [copy.send.name for copy in decided.copy]
    summary.to_relabel = [change.name for change in decided.relabel]
    summary.to_remove = [there.name for there in decided.extra]


def _side_by_side(
    pool: Pool, read_archive: Callable[[], Inventory], ask_bucket: Callable[[], Found]
) -> tuple[Inventory, Found]:
    """The archive and the bucket, read at the same time."""
    with Question(pool, ask_bucket) as asking:
        return read_archive(), asking.wait()
