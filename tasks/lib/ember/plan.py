"""Comparing an app with what a bucket holds: what to send, to copy within the bucket, and to relabel."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from tasks.lib.ember.entry import Entry
from tasks.lib.ember.objects import ABSENT, Plain, Remote

# So many bytes of a file's SHA-256 are noted in a manifest: enough to tell contents apart.
DIGEST_NOTED = 16
# An object of a generation.
Version = tuple[str, int]
Named = Callable[[Entry], str]


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


class Plan(Struct):
    """What makes the bucket hold an app.

    Args:
        send: what to write, in the archive's order.
        copy: what to write by copying another object of the bucket, or an object onto itself.
        clashing: fingerprinted files that are there with other content, which must not be overwritten.
    """

    send: list[Send] = field(default_factory=list)
    copy: list[Copy] = field(default_factory=list)
    relabel: list[Relabel] = field(default_factory=list)
    clashing: list[str] = field(default_factory=list)
    unchanged: int = 0

    @property
    def writes(self) -> list[Send]:
        """What is written, in whatever way."""
        return [*self.send, *(copy.send for copy in self.copy)]


def plan(
    entries: Iterable[Entry], named: Named, there: Mapping[str, Remote], doomed: Collection[Version] = ()
) -> Plan:  # fmt: skip
    """Decide what to do so that every entry is there, under the name that `named` gives it.

    What is `doomed`, by a pruning, is copied onto itself: the pruning does not know that generation.
    """
    decided = Plan()
    for entry in entries:
        name = named(entry)
        remote = there.get(name)
        send = Send(entry, name, remote.generation if remote else ABSENT)
        if remote is None:
            decided.send.append(send)
        elif not same_content(entry, remote):
            is_unknown = remote.encoding and remote.plain is None
            if entry.shared and not is_unknown:
                decided.clashing.append(name)
            decided.send.append(send)
        elif (name, remote.generation) in doomed:
            decided.copy.append(Copy(send, name))
        elif remote.headers != entry.headers:
            decided.relabel.append(Relabel(entry, name, remote.generation))
        else:
            decided.unchanged += 1
    return decided


def copying(decided: Plan, earlier: Iterable[Entry], named: Named, there: Collection[str]) -> Plan:
    """The plan, with copies of what an earlier revision has, and is still `there`, in place of sending it."""
    sources = {_kind(one): named(one) for one in earlier if one.digest and named(one) in there}
    copy = [Copy(one, sources[_kind(one.entry)]) for one in decided.send if _kind(one.entry) in sources]
    send = [one for one in decided.send if _kind(one.entry) not in sources]
    return replace(decided, send=send, copy=[*decided.copy, *copy])


def _kind(entry: Entry) -> tuple[object, ...]:
    """What two files have in common whose objects are the same but for their names."""
    return entry.digest[:DIGEST_NOTED], entry.size, entry.crc32c, entry.headers, entry.compressible


def same_content(entry: Entry, remote: Remote) -> bool:
    """Whether the object holds this file, compressed or not."""
    if remote.plain == Plain(entry.size, entry.crc32c):
        return True
    return (remote.size, remote.crc32c) == (entry.size, entry.crc32c)


def is_as_it_should_be(entry: Entry, remote: Remote) -> bool:
    """Whether the object holds this file and is served with its headers."""
    return same_content(entry, remote) and remote.headers == entry.headers


def missing(entries: Iterable[Entry], named: Named, there: Mapping[str, Remote]) -> Sequence[str]:
    """The names of objects that are not there, or hold something else."""
    return [
        name
        for entry in entries
        if (name := named(entry)) not in there or not same_content(entry, there[name])
    ]
