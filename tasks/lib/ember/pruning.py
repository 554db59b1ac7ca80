"""Removing revisions, and the files that no other one needs, whatever else is done at the same time.

Nobody may be served a page whose files are gone, and Cloud Storage makes no change that spans objects.  But
it refuses a request for an object that is not of the generation named with it, and gives every version of an
object a generation of its own (https://cloud.google.com/storage/docs/request-preconditions); reads and
listings show all that was answered before (https://cloud.google.com/storage/docs/consistency).  Hence:

- An upload writes its manifest first, then reads the lists of prunings, then lists the files.  What is there
  and on no such list it takes for granted; what is on one it writes onto itself, as another generation.
- A pruning removes manifests, lists the files that no other manifest needs, name and generation, in an object
  of its own, gives the page a new generation, and only then looks which manifests there are.  What none of
  them needs it removes, by generation.  So either the pruning sees the upload's manifest, or the upload sees
  the pruning's list.
- An activation asks for the page's generation before the manifest, and writes the page over that generation.
  One that saw a manifest before it was removed knows the page from before it was renewed, and is refused; or
  it was faster, and the pruning, which looks at the page after that, puts the manifest back.
- Where there is no page, there is nothing to renew.  So an activation gives the manifest another generation
  before it writes the first page, and a note.  A pruning that listed the manifest before cannot remove it;
  one that finds no page leaves a manifest with that note.

Where no revision is active, fingerprinted files may be another program's.  So only those go that the removed
revisions listed, and none where there is a page.

A pruning that was ended leaves its list.  The next one removes what is still on it and not needed, and writes
the rest onto itself, so that the first one, if it runs after all, removes nothing of it.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from tasks.lib.ember import listing, objects, revisions, sending
from tasks.lib.ember.activation import STRAY, Page, put_back, served
from tasks.lib.ember.entry import INDEX, Entry
from tasks.lib.ember.http import Job
from tasks.lib.ember.objects import ABSENT, Remote
from tasks.lib.ember.overview import Overview, overview
from tasks.lib.ember.place import OF_A_REVISION, Place
from tasks.lib.ember.plan import Send, Version
from tasks.lib.ember.revisions import MANIFEST_HEADERS
from tasks.lib.errors import Failure, UsageError

# An upload may be running: what it has not completed is not touched for so long.
LEAST_AGE = timedelta(days=1)
Manifests = Mapping[str, list[Entry]]


def prune(place: Place, keep: int, days: float, dry_run: bool) -> list[str]:
    """Remove old revisions, and what no revision needs; says what.

    Raises:
        UsageError: `keep` or `days` make no sense.
        Failure: there is no revision, or the active one has no manifest.

    """
    _check(keep, days)
    found = overview(place)
    _expect_revisions(place, found)
    chosen = _chosen(found, keep, timedelta(days=days))
    if dry_run:
        left = {name: files for name, files in found.manifests.items() if name not in chosen}
        count = len(_unneeded(place, found, left))
        return [
            *(f"{name} would be removed." for name in chosen),
            f"Objects that no other revision needs: {count}.",
        ]
    strays = put_back(place) if found.strays else []
    removed = _without_manifest(place, found, chosen)
    manifests, gone = _swept(place, found, removed)
    if removed & manifests.keys():
        # An activation that was overtaken meanwhile could not put back the files of one without a manifest.
        strays += put_back(place)
    return [
        *(f"{name} {STRAY} It was put back." for name in strays),
        *(
            f"{one} {'stays: it was needed meanwhile' if one in manifests else 'is removed'}."
            for one in chosen
        ),
        f"Objects removed that no revision needs: {gone}.",
    ]


def _check(keep: int, days: float) -> None:
    if keep < 0 or days < 0:
        raise UsageError("--keep and --older-than must be 0 or more.")
    if days > timedelta.max.days:
        raise UsageError(f"--older-than must be at most {timedelta.max.days:,} days.")


def _expect_revisions(place: Place, found: Overview) -> None:
    """Refuse to prune where no revision is, as at a mistyped prefix, or the active one is unknown."""
    if found.page.name and found.page.name not in found.manifests:
        raise _no_manifest(place, found.page)
    if not (found.listed.revisions or found.listed.prunings):
        raise Failure(
            f"Nothing was pruned at {place.prefix}.",
            "There is no revision.",
            "Give the prefix of an app that was uploaded by this tool: experiments/<uuid>.",
        )


def _no_manifest(place: Place, page: Page) -> Failure:
    why = f"Revision {page.name} is active, and {place.manifest(page.name)} is missing."
    return Failure(
        f"Nothing was pruned at {place.prefix}.",
        why if page.name else "Another program has written or removed the page meanwhile.",
        "Upload the app that is to be served, then prune again.",
    )


def _chosen(found: Overview, keep: int, older_than: timedelta) -> list[str]:
    """The revisions to remove: old ones, and what ended uploads left."""
    now, no_page = datetime.now(UTC), found.page.generation == ABSENT
    everything = [
        one
        for name, one in found.listed.revisions.items()
        if name in found.manifests and not (no_page and one.claimed)
    ]
    complete = [one for one in everything if one.name not in found.incomplete]
    old = revisions.prunable(complete, found.page.history, keep, older_than, now)
    ended = [
        one
        for one in everything
        if one.name in found.incomplete - {found.page.name}
        and now - one.created >= max(older_than, LEAST_AGE)
    ]
    return [one.name for one in (*old, *ended)]


def _unneeded(place: Place, found: Overview, manifests: Manifests) -> list[Remote]:
    """The fingerprinted files that no manifest lists, and the own files of revisions without a manifest."""
    needed = {place.live(entry) for files in manifests.values() for entry in files}
    shared = _shared_that_may_go(place, found)
    unneeded = []
    for name, remote in found.there.items():
        match = OF_A_REVISION.match(place.path(name))
        if match[1] not in manifests if match else name in shared and name not in needed:
            unneeded.append(remote)
    return unneeded


def _shared_that_may_go(place: Place, found: Overview) -> set[str]:
    """The fingerprinted files that are no other program's: where nothing is active, what was listed."""
    if found.page.name:
        return {name for name in found.there if place.is_shared(place.path(name))} - _further_down(
            place, found
        )
    if found.page.generation != ABSENT:
        return set()
    listed = {place.live(entry) for files in found.manifests.values() for entry in files if entry.shared}
    return listed | {name for name, _ in revisions.doomed(place, found.listed.prunings)}


def _further_down(place: Place, found: Overview) -> set[str]:
    """The files of apps that lie further down."""
    own = {place.index, *(place.live(entry) for files in found.manifests.values() for entry in files)}
    pages = (name for name in found.there if name.endswith(f"/{INDEX}") and name not in own)
    folders = tuple(name.removesuffix(INDEX) for name in pages if not OF_A_REVISION.match(place.path(name)))
    return {name for name in found.there if name.startswith(folders)}


def _without_manifest(place: Place, found: Overview, chosen: list[str]) -> set[str]:
    """Remove manifests; those that were removed."""
    asked = [
        Job(objects.remove(place.access, place.manifest(name), found.listed.revisions[name].generation))
        for name in chosen
    ]
    return {name for name, gone in zip(chosen, place.pool.run(asked), strict=True) if gone}


def _swept(place: Place, found: Overview, removed: set[str]) -> tuple[Manifests, int]:
    """Remove what no manifest needs any more; the manifests that are there, and how many objects went."""
    left = {name: files for name, files in found.manifests.items() if name not in removed}
    unneeded = _unneeded(place, found, left)
    if not (unneeded or removed or found.listed.prunings):
        return left, 0
    number, written = _announced(place, unneeded)
    manifests = _looked_again(place, found, removed)
    needed_by_now = {place.kept(name)(entry) for name, files in manifests.items() for entry in files}
    surely = [one for one in unneeded if one.name not in needed_by_now]
    gone = place.pool.run(Job(objects.remove(place.access, one.name, one.generation)) for one in surely)
    _finish_others(place, found)
    place.pool.ask(objects.remove(place.access, number, written))
    return manifests, gone.count(True)


def _announced(place: Place, unneeded: list[Remote]) -> Version:
    """Write down what is about to be removed; the list's object."""
    name = f"{place.revisions}pruning-{os.urandom(8).hex()}.json"
    data = json.dumps([(one.name, one.generation) for one in unneeded]).encode()
    send = Send(revisions.made(name, data, MANIFEST_HEADERS), name, ABSENT)
    return name, place.pool.ask(sending.write(place.access, send, data)).generation


def _looked_again(place: Place, found: Overview, removed: set[str]) -> Manifests:
    """The manifests that are there once the page has a new generation.

    A revision that was activated in the meantime gets its manifest back.
    """
    page = _renewed_page(place)
    listed = revisions.listed(place)
    activated = revisions.spared(page.history, {*listed.revisions, *removed}) & removed
    for name in activated:
        with suppress(revisions.Gone):  # an upload was faster
            revisions.announce(place, name, found.manifests[name], listed)
    if activated:
        listed = revisions.listed(place)
    known = {
        name: files
        for name, files in found.manifests.items()
        if found.listed.generation(name) == listed.generation(name) != ABSENT
    }
    manifests = known | revisions.entries_of(place, [one for one in listed.revisions if one not in known])
    if page.name not in manifests and (page.name or found.page.name):
        raise _no_manifest(place, page)
    return manifests


def _renewed_page(place: Place) -> Page:
    """The page, once it has a generation that no activation under way knows."""
    page = served(place)
    if page.generation == ABSENT:
        return page
    renewed = place.pool.ask(objects.copy(place.access, place.index, place.index, page.generation))
    return page if renewed else served(place)


def _finish_others(place: Place, found: Overview) -> None:
    """Remove the lists of other prunings, once nothing on them is of the generation that is listed there."""
    doomed = revisions.doomed(place, found.listed.prunings)
    there = listing.below(place.pool, place.access, place.prefix, []) if doomed else {}
    renewed = [one for one in there.values() if (one.name, one.generation) in doomed]
    place.pool.run(Job(objects.copy(place.access, one.name, one.name, one.generation)) for one in renewed)
    place.pool.run(
        Job(objects.remove(place.access, one.name, int(one.generation))) for one in found.listed.prunings
    )
