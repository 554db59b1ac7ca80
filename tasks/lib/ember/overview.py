"""All that lies at an app's place, and what a maintainer chooses from it: a revision to serve."""

from collections.abc import Mapping

from msgspec import Struct

from tasks.lib.ember import listing, revisions
from tasks.lib.ember.activation import Complete, Page, activate, complete, is_served, served, strays
from tasks.lib.ember.entry import Entry
from tasks.lib.ember.objects import Remote
from tasks.lib.ember.place import Place
from tasks.lib.ember.plan import missing
from tasks.lib.ember.revisions import Listed
from tasks.lib.errors import Failure


class Overview(Struct):
    """What lies at a place.

    Args:
        incomplete: the revisions of which files are missing.
        strays: the files beside the page that are not the active revision's.
    """

    page: Page
    listed: Listed
    manifests: Mapping[str, list[Entry]]
    there: Mapping[str, Remote]
    incomplete: set[str]
    strays: list[str]


def overview(place: Place) -> Overview:
    """What lies at a place; the page is looked up first, and the objects are listed last."""
    page = served(place)
    listed = revisions.listed(place)
    manifests = revisions.entries_of(place, list(listed.revisions))
    expected = {place.kept(name)(entry) for name, files in manifests.items() for entry in files}
    there = listing.below(place.pool, place.access, place.prefix, list(expected))
    incomplete = {
        name
        for name in listed.revisions
        if name not in manifests or missing(manifests[name], place.kept(name), there)
    }
    active = Complete(manifests.get(page.name, ()), there)
    return Overview(page, listed, manifests, there, incomplete, strays(place, page.name, active))


def activate_chosen(place: Place, asked: str) -> str:
    """Serve the revision that `asked` names or begins; says what was done."""
    page = served(place)
    name = revisions.known(revisions.listed(place).revisions, asked)
    found = complete(place, name)
    if is_served(place, name, found, page):
        return f"Revision {name} is active already."
    activate(place, name, revisions.activated(page.history, name), page, found)
    return f"Revision {name} is active. Before: {page.name or 'none'}."


def roll_back(place: Place) -> str:
    """Serve the revision before the active one; says what was done.

    Raises:
        Failure: there is none to go back to.

    """
    page = served(place)
    history = revisions.rolled_back(page.history, revisions.listed(place).revisions)
    if not history:
        raise Failure(
            "There is no revision to go back to.",
            f"None of those activated before {page.name or 'now'} is in the bucket any more.",
            "See `./inv ember.list`; `./inv ember.activate` serves any that is there.",
        )
    activate(place, history[0], history, page)
    return f"Revision {history[0]} is active again. Before: {page.name}."
