"""Comparing an app with what a bucket holds: what to send, what to relabel, what is left over."""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from tasks.lib.ember.content import GZIP
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.remote import ABSENT, Plain, Remote
from tasks.lib.ember.survey import INDEX

# So many bytes of a file's SHA-256 are noted in a manifest: enough to tell contents apart.
DIGEST_NOTED = 16


class Send(Struct, frozen=True):
    """Write `entry` as `name`, provided the object there is still of `generation` (ABSENT: there is none)."""

    entry: Entry
    name: str
    generation: int


class Copy(Struct, frozen=True):
    """Write what `send` says by copying the object `source`, which holds it already."""

    send: Send
    source: str


class Relabel(Struct, frozen=True):
    """Give the object `name` the headers of `entry`; its content is right."""

    entry: Entry
    name: str
    generation: int


class Plan(Struct, frozen=True):
    """What makes the bucket equal to the app.

    Args:
        send: what to write, in the archive's order.
        relabel: objects whose headers alone differ.
        last: the app's index.html where it differs, written once all else is there.
        extra: objects under the prefix that the app does not have.
        unchanged: how many files are there already.
        copy: what to write by copying another object of the bucket, or an object onto itself.
    """

    send: Sequence[Send]
    relabel: Sequence[Relabel]
    last: Sequence[Send]
    extra: Sequence[Remote]
    unchanged: int
    copy: Sequence[Copy] = ()

    @property
    def changes(self) -> int:
        """How many objects would be written or relabelled."""
        return len(self.send) + len(self.copy) + len(self.relabel) + len(self.last)

    @property
    def writes(self) -> list[Send]:
        """What is written, in whatever way, index.html last."""
        return [*self.send, *(copy.send for copy in self.copy), *self.last]


def plan(entries: Iterable[Entry], prefix: str, listing: Iterable[Remote]) -> Plan:
    """Decide what to do so that every entry is there under `prefix` as it should be."""
    there = {remote.name: remote for remote in listing}
    send: list[Send] = []
    relabel: list[Relabel] = []
    last: list[Send] = []
    unchanged = 0
    for entry in entries:
        name = prefix + entry.path
        remote = there.pop(name, None)
        if remote is None or not same_content(entry, remote):
            chosen = last if entry.path == INDEX else send
            chosen.append(Send(entry, name, remote.generation if remote else ABSENT))
        elif remote.headers != entry.headers:
            relabel.append(Relabel(entry, name, remote.generation))
        else:
            unchanged += 1
    return Plan(send, relabel, last, list(there.values()), unchanged)


def anew(entries: Iterable[Entry], prefix: str, listing: Iterable[Remote]) -> Plan:
    """As `plan`, where somebody is about to remove what was listed: nothing is left as it is.

    What is there as it should be is copied onto itself, which gives it a generation that nobody has listed.
    """
    there = {remote.name: remote for remote in listing}
    send: list[Send] = []
    copy: list[Copy] = []
    last: list[Send] = []
    for entry in entries:
        name = prefix + entry.path
        remote = there.pop(name, None)
        write = Send(entry, name, remote.generation if remote else ABSENT)
        if remote and same_content(entry, remote) and remote.headers == entry.headers:
            copy.append(Copy(write, name))
        else:
            chosen = last if entry.path == INDEX else send
            chosen.append(write)
    return Plan(send, (), last, list(there.values()), 0, copy)


def copying(decided: Plan, earlier: Iterable[Entry], folder: str) -> Plan:
    """The plan, with copies of what an earlier revision holds in place of sending it.

    Args:
        decided: the plan.
        earlier: the files of that revision, by its manifest.
        folder: where they lie, with its slash.

    """
    sources = {_kind(entry): folder + entry.path for entry in earlier if entry.digest}
    if not sources:
        return decided
    copy = [Copy(one, sources[_kind(one.entry)]) for one in decided.send if _kind(one.entry) in sources]
    send = [one for one in decided.send if _kind(one.entry) not in sources]
    return replace(decided, send=send, copy=[*decided.copy, *copy])


def _kind(entry: Entry) -> tuple[object, ...]:
    """What two files have in common whose objects are the same but for their names."""
    return entry.digest[:DIGEST_NOTED], entry.size, entry.crc32c, entry.headers, entry.compressible


def same_content(entry: Entry, remote: Remote) -> bool:
    """Whether the object holds this file, stored in a way that its rule allows.

    A file that may be compressed needs this tool's note: without it, nobody tried whether that is smaller.
    """
    if not entry.compressible:
        return not remote.encoding and (remote.size, remote.crc32c) == (entry.size, entry.crc32c)
    return remote.encoding in {"", GZIP} and remote.plain == Plain(entry.size, entry.crc32c)
