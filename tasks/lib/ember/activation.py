"""What is served at a prefix: which revision it is, and how another one comes to be.

Others may activate, upload and prune at the same time.  What keeps a page from being served whose files are
gone is said in `pruning`; the part of it that is kept here is the order of `activate`.
"""

import os
from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct

from tasks.lib.ember import listing, objects, reading, revision, revisions, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.plan import Send, plan
from tasks.lib.ember.remote import ABSENT, Remote, remote_of
from tasks.lib.ember.survey import INDEX
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure

HISTORY_KEY = "lookit-history"
ACTIVATION_KEY = "lookit-activation"
PAGE_HEADERS = Headers("text/html; charset=utf-8", "no-cache")
# What a page notes in place of an activation as long as there was none.
AWAITED = "awaited"


class Active(Struct, frozen=True):
    """What is served at a prefix.

    Args:
        history: the revisions activated there, the last first.
        generation: the page's.
        as_written: whether the page still has the headers that an activation gives it.
        page: tells it from any other page; empty where there is none, or one that only awaits an activation.
    """

    history: Sequence[str]
    generation: int
    as_written: bool = True
    page: str = ""

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
    noted = found.metadata
    history, activation = noted.get(HISTORY_KEY, ""), noted.get(ACTIVATION_KEY, "")
    there = remote_of(found)
    return Active(
        tuple(history.split(",")) if history else (),
        there.generation,
        there.headers == PAGE_HEADERS,
        "" if activation == AWAITED else f"{activation} {there.crc32c:08x}",
    )


def served(pool: Pool, access: Access, prefix: str) -> tuple[Active, list[Entry]]:
    """What is served at `prefix`, and the files of that revision as far as its manifest can be read."""
    now = active(pool, access, prefix)
    if not now.name:
        return now, []
    try:
        return now, revisions.entries_in(pool, access, prefix, now.name)
    except Failure:
        return now, []


def is_as_activated(pool: Pool, access: Access, prefix: str, name: str) -> bool:
    """Whether the page at `prefix` holds what an activation of revision `name` would write there now."""
    from tasks.lib.ember import page

    pages: list[bytes] = []
    indexes: list[bytes] = []
    where = revision.folder(prefix, name)
    asked = [
        reading.fetching(access, prefix + INDEX, pages),
        reading.fetching(access, where + INDEX, indexes),
    ]
    pool.run(asked)
    try:
        return pages == [page.of_revision(index, name) for index in indexes]
    except Failure:  # the revision's own is another one
        return False


def activate(
    pool: Pool, access: Access, prefix: str, name: str, history: Sequence[str], served: Active,
    entries: Sequence[Entry] = (),
) -> None:  # fmt: skip
    """Serve revision `name` at `prefix`.

    In this order: the page's generation, the manifest, the files, the page, which is refused where it has
    another generation by then.  A page is never written where there is none, since that is no generation of
    its own: it comes back when a page goes.  One that says that it awaits an activation is written before,
    and the page over it as soon as Cloud Storage takes a second write of one object.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where, with its slash.
        name: a complete revision.
        history: what is to be remembered from now on, `name` first.
        served: what is served now; if it is something else by the time of writing, nothing is changed, and
            that is a Failure unless it is this revision.
        entries: the revision's files where its manifest was seen, or written, since `served` was asked for;
            else the manifest is read.

    Raises:
        Gone: the revision is not whole.
        Failure: its page cannot be based, or another activation came first.

    """
    generation = ABSENT
    try:
        generation = served.generation or _awaiting(pool, access, prefix)
        _write_page(pool, access, prefix, name, history, generation, entries if served.generation else ())
    except objects.Changed as changed:
        now = active(pool, access, prefix)
        if now.page == served.page:
            # A pruning renewed the page: was this revision what it removed?
            activate(pool, access, prefix, name, history, now)
            return
        if now.name == name and now.as_written:
            return  # another activation of the same revision has looked for its files, and written its page
        raise Failure(
            f"Revision {name} was not activated: another activation came first.",
            f"{now.name or 'A page that is no revision'} is active now.",
            "Look at it with `ember.list`, and activate again if yours is the one to serve.",
        ) from changed
    except Failure:
        if generation and not served.page:
            _withdraw(pool, access, prefix, generation)
        raise


def _write_page(
    pool: Pool, access: Access, prefix: str, name: str, history: Sequence[str], generation: int,
    entries: Sequence[Entry],
) -> None:  # fmt: skip
    """Write the page over the one of `generation`."""
    from tasks.lib.ember import page

    index = _index_of_whole(
        pool, access, prefix, name, entries or revisions.entries_in(pool, access, prefix, name)
    )
    data = page.of_revision(index, name)
    send = Send(revisions.made(prefix + INDEX, data, PAGE_HEADERS), prefix + INDEX, generation)
    notes = {HISTORY_KEY: ",".join(history), ACTIVATION_KEY: os.urandom(8).hex()}
    pool.run([objects.paced(access, send.name, sending.small(access, send, data, objects.ignore, notes))])


def _awaiting(pool: Pool, access: Access, prefix: str) -> int:
    """The generation of a page that awaits an activation, written now or by another at the same time."""
    from tasks.lib.ember import page

    generations: list[int] = []
    send = Send(revisions.made(prefix + INDEX, page.AWAITING, PAGE_HEADERS), prefix + INDEX, ABSENT)
    notes = {ACTIVATION_KEY: AWAITED}
    written = sending.small(access, send, page.AWAITING, objects.ignore, notes, generations.append)
    pool.run([objects.paced(access, send.name, written)])
    return generations[0] if generations else ABSENT


def _withdraw(pool: Pool, access: Access, prefix: str, generation: int) -> None:
    """Remove a page that awaits an activation which failed, where it is still there and that can be done."""
    there = Remote(prefix + INDEX, 0, 0, PAGE_HEADERS, "", None, generation)
    with suppress(Failure):
        pool.run([objects.removed(access, there, objects.ignore, objects.ignore)])


def _index_of_whole(pool: Pool, access: Access, prefix: str, name: str, entries: Sequence[Entry]) -> bytes:
    """The index.html of a revision of which nothing is missing."""
    where = revision.folder(prefix, name)
    there: list[Remote] = []
    indexes: list[bytes] = []
    asked = listing.jobs(access, where, [entry.path for entry in entries], there)
    pool.run([*asked, reading.fetching(access, where + INDEX, indexes)])
    revisions.expect_all(name, plan(entries, where, there))
    if not indexes:
        raise revisions.not_whole(name, [where + INDEX])
    return indexes[0]
