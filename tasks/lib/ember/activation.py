"""What is served at a place: which revision it is, and how another one comes to be.

Others may upload, activate and prune at the same time.  The order here is a part of what keeps a page from
being served whose files are gone; `pruning` says why it is enough.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from tasks.lib.ember import listing, objects, revisions, sending
from tasks.lib.ember.adoption import adopt
from tasks.lib.ember.entry import INDEX, Entry
from tasks.lib.ember.http import Job, Steps
from tasks.lib.ember.objects import ABSENT, Changed, Item, Remote
from tasks.lib.ember.place import Place
from tasks.lib.ember.plan import Copy, Plan, Send, Version, missing, plan
from tasks.lib.ember.revisions import Revision
from tasks.lib.errors import Failure

HISTORY_KEY = "lookit-history"
# A text of each activation's own: who finds it in the page has written the page.
ACTIVATION_KEY = "lookit-activation"
MOST_ATTEMPTS = 5
# What is said of a file beside the page.
STRAY = "is not the active revision's: an activation was interrupted, or somebody wrote it."


class Page(Struct, frozen=True):
    """What is served at a place.

    Args:
        history: the revisions activated there, the last first; none where it is no revision's page.
        identity: tells it from any other page, also once a pruning has given it another generation.
    """

    history: Sequence[str] = ()
    generation: int = ABSENT
    identity: str = ""

    @property
    def name(self) -> str:
        """The active revision; empty where there is none."""
        return self.history[0] if self.history else ""


class Overtaken(Failure):
    """Another activation came first."""


class Complete(Struct):
    """A revision of which nothing is missing.

    Args:
        doomed: what prunings are about to remove.
        revision: its manifest, as it was listed before the files were.
        index: its page, or the beginning of that, where it is known.
    """

    entries: Sequence[Entry]
    there: Mapping[str, Remote]
    doomed: Collection[Version] = ()
    revision: Revision | None = None
    index: bytes = b""


def page_of(item: Item | None) -> Page:
    """The page as the API tells of its object."""
    if item is None:
        return Page()
    history = item.metadata.get(HISTORY_KEY, "")
    identity = f"{item.metadata.get(ACTIVATION_KEY, '')} {item.crc32c}"
    return Page(tuple(history.split(",")) if history else (), int(item.generation), identity)


def served(place: Place) -> Page:
    """What is served now."""
    return page_of(place.pool.ask(objects.look_up(place.access, place.index)))


def activate(
    place: Place, name: str, history: Sequence[str], page: Page, known: Complete | None = None
) -> None:
    """Serve a revision, once all its files were found.

    In this order: the page's generation, the manifest, the lists of prunings, the files, the page, which is
    refused where it has another generation by then and is not this revision.  `history` begins with `name`;
    `known` is the revision, where its manifest was seen after the page.

    Raises:
        Gone: the revision is not complete.
        Overtaken: another activation came first.

    """
    try:
        _attempts(place, name, history, page, known)
    except (Overtaken, revisions.Gone):
        with suppress(Failure):
            put_back(place)
        raise


def strays(place: Place, name: str, found: Complete) -> list[str]:
    """The files beside the page that are not those of a revision."""
    beside = _beside_page(place, name, found)
    return [one.send.name for one in beside.copy] + [one.name for one in beside.relabel]


def put_back(place: Place) -> list[str]:
    """Put the active revision's own files in their places, over those of an interrupted activation.

    It may as well be under way.  So the page gets another generation after that, as if it were activated: an
    activation that knows the one before is refused, and looks again what it has to write.

    Returns:
        The files that were not the active revision's; none where it is incomplete, and cannot be put back.

    """
    written: list[str] = []
    for _ in range(MOST_ATTEMPTS):
        page = served(place)
        try:
            found = complete(place, page.name)
            beside = _beside_page(place, page.name, found)
            if beside.clashing or not (left := strays(place, page.name, found)):
                break
            _write(place, beside)
        except revisions.Gone:
            break
        except Changed:
            continue
        written += left
        if place.pool.ask(objects.copy(place.access, place.index, place.index, page.generation)):
            break
    return list(dict.fromkeys(written))


def is_served(place: Place, name: str, found: Complete, page: Page) -> bool:
    """Whether visitors are served a revision as it should be."""
    own = [entry for entry in found.entries if not entry.shared]
    decided = plan(own, place.live, found.there, found.doomed)
    return page.name == name and decided.unchanged == len(own)


def expect_no_clash(decided: Plan) -> None:
    """Refuse to write over a fingerprinted file.

    Raises:
        Failure: that would be done.

    """
    if decided.clashing:
        raise Failure(
            "Fingerprinted files are in the bucket with other content; they must never change.",
            "\n".join(f"- {name}" for name in decided.clashing),
            "Build again so that names follow from contents, or correct ember.fingerprints in invoke.yaml.",
        )


def _attempts(
    place: Place, name: str, history: Sequence[str], page: Page, known: Complete | None
) -> None:  # fmt: skip
    for _ in range(MOST_ATTEMPTS):
        try:
            _publish(place, name, known or complete(place, name), history, page)
        except Changed:
            now = served(place)
            if now.identity != page.identity and now.name == name:
                return  # another activation of the same revision was faster
            if now.identity != page.identity:
                raise _overtaken(name, now) from None
            page, known = now, None
        else:
            return
    raise _overtaken(name, page)


def _publish(place: Place, name: str, found: Complete, history: Sequence[str], page: Page) -> None:
    """Write what has no fingerprint where it differs, and the page last.

    Raises:
        Changed: something was written by somebody else meanwhile.

    """
    if not page.history:
        history = [*history, *adopt(place, found.there)]
    index = next(entry for entry in found.entries if entry.path == INDEX)
    data = found.index if len(found.index) == index.size else _kept_page(place, place.kept(name)(index))
    beside = _beside_page(place, name, found)
    expect_no_clash(beside)
    if page.generation == ABSENT and found.revision:
        revisions.claim(place, found.entries, found.revision)
    # From here on visitors may get files of both revisions; nothing is asked that could be asked before.
    _write(place, beside)
    notes = {HISTORY_KEY: ",".join(history), ACTIVATION_KEY: os.urandom(8).hex()}
    send = Send(index, place.live(index), page.generation)
    place.pool.ask(sending.write(place.access, send, data, notes))


def _kept_page(place: Place, name: str) -> bytes:
    data = place.pool.ask(objects.fetch(place.access, name))
    if data is None:
        raise objects.changed(name)
    return data


def complete(place: Place, name: str) -> Complete:
    """A revision, once nothing of it was found to be missing.

    What a pruning is about to remove is written onto itself: the pruning does not know that generation.
    """
    found = revisions.listed(place)
    entries = revisions.entries_of(place, [name]).get(name) if name in found.revisions else None
    if entries is None:
        raise revisions.gone(name, f"{place.manifest(name)} is missing.")
    kept, doomed = place.kept(name), revisions.doomed(place, found.prunings)
    there = listing.below(place.pool, place.access, place.prefix, [kept(entry) for entry in entries])
    lost = missing(entries, kept, there)
    if not lost:
        renewals = plan(entries, kept, there, doomed).copy
        instead = place.pool.run(Job(sending.copied(place.access, copy)) for copy in renewals)
        lost = [send.name for send in instead if send]
    if lost:
        raise revisions.gone(name, "\n".join(f"- {one} is missing or differs." for one in lost))
    return Complete(entries, there, doomed, found.revisions[name])


def _beside_page(place: Place, name: str, found: Complete) -> Plan:
    """What has to be written beside the page so that visitors find a revision's own files."""
    own = [entry for entry in found.entries if not entry.shared and entry.path != INDEX]
    decided, kept = plan(own, place.live, found.there, found.doomed), place.kept(name)
    decided.copy = [Copy(send, kept(send.entry)) for send in decided.writes]
    # Earlier versions kept fingerprinted files in the revision's own folder too.
    over = (send for send in decided.send if send.generation != ABSENT)
    decided.clashing = [send.name for send in over if place.is_shared(send.entry.path)]
    return decided


def _write(place: Place, decided: Plan) -> None:
    """Put a revision's own files in their places.

    Raises:
        Changed: somebody else wrote one meanwhile.

    """
    relabels = (
        objects.relabel(place.access, one.name, one.generation, one.entry.headers) for one in decided.relabel
    )
    copies = (_copied(place, copy) for copy in decided.copy)
    place.pool.run(Job(steps) for steps in (*copies, *relabels))


def _copied(place: Place, copy: Copy) -> Steps[None]:
    if (yield from sending.copied(place.access, copy)):
        raise objects.changed(copy.source)


def _overtaken(name: str, now: Page) -> Overtaken:
    return Overtaken(
        f"Revision {name} was not activated: another activation came first.",
        f"{now.name or 'A page that is no revision'} is active now.",
        "See `./inv ember.list`, and activate again if yours is the one to serve.",
    )
