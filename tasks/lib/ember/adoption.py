"""Keeping what another program, such as Lookit's own builder, wrote to a place as a revision."""

from collections.abc import Mapping

from tasks.lib.ember import revisions, sending
from tasks.lib.ember.archive import FILE, Member
from tasks.lib.ember.http import Job
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.objects import ABSENT, Remote, changed
from tasks.lib.ember.place import MANIFEST, OF_A_REVISION, PRUNING, Place
from tasks.lib.ember.plan import Copy, Send


def adopt(place: Place, there: Mapping[str, Remote]) -> str:
    """Make a revision of the files that visitors find now; its name.

    Raises:
        Changed: somebody else writes to the place.
        Gone: the same.

    """
    entries = [_entry(place, remote) for remote in there.values() if is_of_the_app(place, remote.name)]
    name = revisions.identity(entries)
    revisions.announce(place, name, entries, revisions.listed(place))
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
    return name


def is_of_the_app(place: Place, name: str) -> bool:
    """Whether an object is a file that visitors find, rather than one that only revisions need."""
    path = place.path(name)
    kinds = (OF_A_REVISION, MANIFEST, PRUNING)
    return not path.endswith("/") and not any(kind.match(path) for kind in kinds)


def _entry(place: Place, remote: Remote) -> Entry:
    path = place.path(remote.name)
    size, crc32c = (remote.plain.size, remote.plain.crc32c) if remote.plain else (remote.size, remote.crc32c)
    member = Member(path, FILE, size, 0, None)
    return Entry(path, size, crc32c, b"", remote.headers, False, member, place.is_shared(path))
