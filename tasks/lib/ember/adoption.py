"""Keeping what another program, such as Lookit's own builder, wrote to a place as a revision.

It is one to go back to only where it is complete.  Where files are missing that its page loads, the manifest
lists these too: so the revision is known to be incomplete, and what is there is kept all the same.
"""

from collections.abc import Mapping

from tasks.lib.console import say
from tasks.lib.ember import objects, page, revisions, sending
from tasks.lib.ember.entry import INDEX, Entry
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.http import Job
from tasks.lib.ember.objects import ABSENT, Remote, changed
from tasks.lib.ember.place import MANIFEST, OF_A_REVISION, PRUNING, Place
from tasks.lib.ember.plan import Copy, Send


def adopt(place: Place, there: Mapping[str, Remote]) -> list[str]:
    """Keep the files that visitors find now as a revision; its name, or none where it is incomplete.

    Raises:
        Changed: somebody else writes to the place.
        Gone: the same.

    """
    entries = [_entry(place, remote) for remote in there.values() if is_of_the_app(place, remote.name)]
    if place.index not in there and not _is_own_kept_nowhere(place, entries, there):
        return []
    missing = _missing(place, {entry.path for entry in entries})
    listed = [*entries, *(_entry_of_missing(place, path) for path in missing)]
    name = revisions.identity(listed)
    revisions.announce(place, name, listed, revisions.listed(place))
    _keep(place, name, entries, there)
    if missing:
        _tell(place, name, missing)
    return [] if missing else [name]


def is_of_the_app(place: Place, name: str) -> bool:
    """Whether an object is a file that visitors find, rather than one that only revisions need."""
    path = place.path(name)
    kinds = (OF_A_REVISION, MANIFEST, PRUNING)
    return not path.endswith("/") and not any(kind.match(path) for kind in kinds)


def _is_own_kept_nowhere(place: Place, entries: list[Entry], there: Mapping[str, Remote]) -> bool:
    """Whether, beside no page, a file lies that is to be overwritten and that no revision has a copy of."""
    copies = {(one.size, one.crc32c) for name, one in there.items() if OF_A_REVISION.match(place.path(name))}
    own = (there[place.live(entry)] for entry in entries if not entry.shared)
    return any((one.size, one.crc32c) not in copies for one in own)


def _missing(place: Place, paths: set[str]) -> list[str]:
    """The files that the page loads and that are not there, or the page itself."""
    data = place.pool.ask(objects.fetch(place.access, place.index)) if INDEX in paths else None
    return [INDEX] if data is None else page.lacking(data, paths, place.served_at)


def _keep(place: Place, name: str, entries: list[Entry], there: Mapping[str, Remote]) -> None:
    """Copy what has no fingerprint into the revision's folder."""
    kept = place.kept(name)
    copies = [
        Copy(Send(entry, kept(entry), there[kept(entry)].generation if kept(entry) in there else ABSENT),
             place.live(entry))
        for entry in entries
        if not entry.shared
    ]  # fmt: skip
    instead = place.pool.run(Job(sending.copied(place.access, copy)) for copy in copies)
    for send in filter(None, instead):
        raise changed(place.live(send.entry))


def _tell(place: Place, name: str, missing: list[str]) -> None:
    """Say that a revision is not one to go back to, and why."""
    say(f"What was at {place.prefix} is kept as revision {name}, which is incomplete. Missing:")
    for path in missing:
        say(f"- {place.prefix}{path}")
    say("A rollback passes it over, and ember.prune removes it in time. To serve it again, upload it whole.")


def _entry(place: Place, remote: Remote) -> Entry:
    path = place.path(remote.name)
    size, crc32c = (remote.plain.size, remote.plain.crc32c) if remote.plain else (remote.size, remote.crc32c)
    return Entry(path, size, crc32c, b"", remote.headers, compressible=False, shared=place.is_shared(path))


def _entry_of_missing(place: Place, path: str) -> Entry:
    return Entry(path, 0, 0, b"", Headers(""), compressible=False, shared=place.is_shared(path))
