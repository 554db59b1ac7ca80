"""Bringing a built Ember app to its place: read and judge the archive, look what is there, send, activate."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from tasks.lib.console import spoken
from tasks.lib.ember import activation, content, listing, objects, page, revisions
from tasks.lib.ember.access import Access, access
from tasks.lib.ember.activation import Complete
from tasks.lib.ember.archive.inventory import Inventory, inspect
from tasks.lib.ember.archive.problems import said
from tasks.lib.ember.archive.source import Archive, open_archive
from tasks.lib.ember.entry import INDEX, Entry
from tasks.lib.ember.http import Job
from tasks.lib.ember.objects import ABSENT
from tasks.lib.ember.place import Place, opened
from tasks.lib.ember.plan import Plan, copying, plan
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.transfer import Transfer
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.settings.ember import Ember

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

ACTIVATED = Options()
# How often an upload begins, where a pruning takes away what it found there.
MOST_ROUNDS = 3


class Upload(Struct):
    """One upload: of what, to where, how, and what was done."""

    place: Place
    archive: Archive
    inventory: Inventory
    options: Options
    summary: UploadSummary
    progress: Progress


class _Beginning(Struct):
    """What was there when an upload began.

    Args:
        listed: the revisions with this one, and the prunings that may not have seen its manifest.
        seen_after_page: whether the manifest was there once the page was known; else it is looked up.
        is_empty: whether no file was there once the manifest was, so that none is taken for granted.
    """

    listed: revisions.Listed
    page: activation.Page
    seen_after_page: bool
    is_empty: bool = False


def upload(
    settings: "Settings", environment: "Environment", source: str, prefix: str, options: Options = ACTIVATED
) -> UploadSummary:  # fmt: skip
    """Bring the app in `source`, an archive, a folder or `-`, to the environment's bucket, below `prefix`.

    Raises:
        UsageError: the prefix or the path cannot be used.
        Failure: the archive is refused, or something could not be sent; the message says what was.

    """
    return upload_to(access(settings, environment), settings.ember, source, prefix, options)


def upload_to(
    access: Access, ember: Ember, source: str, prefix: str, options: Options = ACTIVATED
) -> UploadSummary:
    """As `upload`, to a bucket that `access` leads to."""
    with opened(access, ember, prefix) as place, Progress() as progress:
        return bring(place, source, options, progress)


def too_long(settings: "Settings") -> TimedOut:
    """The error for an upload that reached its limit."""
    return TimedOut(
        f"The upload took longer than {spoken(settings.time_limits.upload)} and was ended.",
        "time_limits.upload in invoke.yaml says how long one may take.",
        "Run the same command again: it goes on where this one ended.",
    )


def bring(place: Place, source: str, options: Options, progress: Progress) -> UploadSummary:
    """As `upload`, to a place."""
    started, traffic = time.monotonic(), place.pool.traffic
    requests, connections = traffic.requests, traffic.connections
    summary = UploadSummary(place.url)
    with closing(open_archive(source, place.ember.limits)) as archive:
        inventory = inspect(archive, f"{place.revisions}{'0' * revisions.LENGTH}/", place.ember)
        summary.broken = [*inventory.broken, *_page_problems(place, archive, inventory)]
        _judge(summary, options)
        one = Upload(place, archive, inventory, options, summary, progress)
        for left in reversed(range(MOST_ROUNDS)):
            try:
                _round(one)
                break
            except revisions.Gone:
                if not left:
                    raise
    summary.requests = traffic.requests - requests
    summary.connections = traffic.connections - connections
    summary.seconds = time.monotonic() - started
    return summary


def _page_problems(place: Place, archive: Archive, inventory: Inventory) -> Iterator[str]:
    """What index.html loads in vain."""
    members = inventory.members

    def read(path: str) -> bytes:
        if path in inventory.kept:
            return inventory.kept[path]
        with archive.open(members[path]) as file:
            return b"".join(content.pieces(file))

    for problem in page.problems(inventory.index, members, place.served_at, read):
        yield said(INDEX, problem)


def _judge(summary: UploadSummary, options: Options) -> None:
    """Refuse an app that no browser could run, where that is not allowed."""
    if summary.broken and not options.allow_broken:
        raise Failure(
            "No browser could run this app, so nothing was uploaded.",
            "\n".join(f"- {problem}" for problem in summary.broken),
            "Build it again (docs/ember.md says how), or upload it as it is: --allow-broken",
        )


def _round(one: Upload) -> None:
    """Announce the revision, send what is missing, and serve it."""
    place, summary = one.place, one.summary
    name = summary.revision = revisions.identity(one.inventory.entries)
    began = _announced(one, name)
    complete, now = _seen(one, name, began), began.page
    summary.active = now.name
    decided = _decided(one, name, complete, now)
    _note(summary, one.inventory, decided)
    if one.options.dry_run:
        return
    activation.expect_no_clash(decided)
    Transfer(place, one.archive, one.inventory, summary, one.progress).carry_out(decided)
    if not one.options.activate:
        _expect_announced(place, name, began.listed)
        _put_back(one, now, complete)
    elif not activation.is_served(place, name, complete, now):
        if not began.seen_after_page:
            _expect_announced(place, name, began.listed)
        if now.name == name:
            summary.put_back = activation.strays(place, name, complete)
        history = revisions.activated(now.history, name)
        activation.activate(place, name, history, now, complete)
        summary.active = name


def _announced(one: Upload, name: str) -> _Beginning:
    """What is there, with this revision's manifest.

    Raises:
        Gone: a pruning has removed the manifest at once.

    """
    place = one.place
    item, listed = place.pool.run(
        [Job(objects.look_up(place.access, place.index)), Job(revisions.listing_of(place))]
    )
    page = activation.page_of(item)
    if one.options.dry_run:
        return _Beginning(listed, page, seen_after_page=False)
    generation = revisions.announce(place, name, one.inventory.entries, listed)
    if generation == listed.generation(name):
        return _Beginning(listed, page, seen_after_page=False)
    listed, is_empty = _listed_again(place, name, page)
    if generation != listed.generation(name):
        raise _removed(name)
    return _Beginning(listed, page, seen_after_page=True, is_empty=is_empty)


def _listed_again(place: Place, name: str, page: activation.Page) -> tuple[revisions.Listed, bool]:
    """The revisions, and whether there is nothing but the manifest: asked at once where there is no page."""
    if page.generation != ABSENT:
        return revisions.listed(place), False
    alone = listing.is_alone(place.access, place.prefix, place.manifest(name))
    listed, is_empty = place.pool.run([Job(revisions.listing_of(place)), Job(alone)])
    return listed, is_empty


def _seen(one: Upload, name: str, began: _Beginning) -> Complete:
    """What the bucket holds, looked up after the manifest was there."""
    place, entries, revision = one.place, one.inventory.entries, began.listed.revisions.get(name)
    if began.is_empty:
        return Complete(entries, {}, (), revision, one.inventory.index)
    doomed = revisions.doomed(place, began.listed.prunings)
    kept = place.kept(name)
    there = listing.below(place.pool, place.access, place.prefix, [kept(entry) for entry in entries])
    return Complete(entries, there, doomed, revision, one.inventory.index)


def _decided(one: Upload, name: str, complete: Complete, now: activation.Page) -> Plan:
    """What to send and to copy so that nothing of the revision is missing."""
    place = one.place
    decided = plan(complete.entries, place.kept(name), complete.there, complete.doomed)
    if not decided.send or not now.name:
        return decided
    return copying(decided, _served(place, now), place.kept(now.name), complete.there)


def _served(place: Place, now: activation.Page) -> Sequence[Entry]:
    """The files of the active revision; none where its manifest is damaged or missing."""
    with suppress(Failure):
        return revisions.entries_of(place, [now.name]).get(now.name, [])
    return []


def _expect_announced(place: Place, name: str, listed: revisions.Listed) -> None:
    """Look whether the revision's manifest was there all the time.

    Raises:
        Gone: a pruning has removed it.

    """
    item = place.pool.ask(objects.look_up(place.access, place.manifest(name)))
    if item is None or int(item.generation) != listed.generation(name):
        raise _removed(name)


def _removed(name: str) -> revisions.Gone:
    return revisions.gone(name, "A pruning has removed its manifest meanwhile.")


def _put_back(one: Upload, now: activation.Page, complete: Complete) -> None:
    """End what an interrupted activation left beside the page."""
    active = _served(one.place, now) if now.name else []
    if activation.strays(one.place, now.name, Complete(active, complete.there)):
        one.summary.put_back = activation.put_back(one.place)


def _note(summary: UploadSummary, inventory: Inventory, decided: Plan) -> None:
    summary.files = len(inventory.entries)
    summary.unchanged = decided.unchanged
    summary.to_send = [send.name for send in decided.send]
    summary.to_copy = [copy.send.name for copy in decided.copy]
    summary.to_relabel = [change.name for change in decided.relabel]
