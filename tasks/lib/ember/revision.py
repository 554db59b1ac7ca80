"""Revisions of an app, side by side below one prefix: their names, their manifests and which comes next.

<prefix>/index.html                    what visitors load: the page of the active revision
<prefix>/revisions/<revision>/…        everything of one revision, never changed
<prefix>/revisions/<revision>.json     its manifest, written when all is there, or a mark of its pruning
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from tasks.lib.ember.headers import Headers
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.member import FILE, Member
from tasks.lib.ember.plan import DIGEST_NOTED
from tasks.lib.ember.remote import Item

FOLDER = "revisions/"
LENGTH = 12
NAME = re.compile(rf"[0-9a-f]{{{LENGTH}}}")
# How many activations are remembered for rolling back.
REMEMBERED = 20
# The key of an object's own metadata that tells a mark from a manifest.
PRUNING_KEY = "lookit-pruning"


class Revision(Struct, frozen=True):
    """A complete revision as the bucket lists it.

    Args:
        name: the hash of its content.
        created: when its upload was complete.
        files: how many it has.
        size: the bytes of all of them, before compression.
        generation: its manifest's.
    """

    name: str
    created: datetime
    files: int
    size: int
    generation: int


def identity(entries: Iterable[Entry]) -> str:
    """The name of the revision with exactly these files: a hash of paths and contents."""
    import hashlib  # slow to load, and what is uploaded in place has no revision

    lines = sorted(f"{entry.digest.hex()} {entry.path}" for entry in entries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:LENGTH]


def is_name(text: str) -> bool:
    """Whether a revision can be called so."""
    return bool(NAME.fullmatch(text))


def folder(prefix: str, name: str) -> str:
    """Where a revision's files lie."""
    return f"{prefix}{FOLDER}{name}/"


def manifest_name(prefix: str, name: str) -> str:
    """The object that says that a revision is complete."""
    return f"{prefix}{FOLDER}{name}.json"


def manifest(entries: Iterable[Entry], name: str) -> bytes:
    """What a revision consists of, as JSON."""
    files = {
        e.path: [
            e.size, f"{e.crc32c:08x}", e.headers.content_type, e.headers.cache_control, e.compressible,
            e.digest[:DIGEST_NOTED].hex(),
        ]
        for e in sorted(entries, key=lambda entry: entry.path)
    }  # fmt: skip
    return json.dumps({"revision": name, "files": files}, separators=(",", ":"), ensure_ascii=False).encode()


def mark(name: str) -> bytes:
    """What takes the place of a manifest once its revision is being pruned: it lists no files."""
    return json.dumps({"revision": name, "pruning": True}, separators=(",", ":")).encode()


def is_mark(item: Item | None) -> bool:
    """Whether what the API says of a manifest, where there is one, is said of a mark."""
    return bool(item and PRUNING_KEY in item.metadata)


def entries_of(data: bytes) -> list[Entry]:
    """The files that a manifest lists; they have no archive to be read from."""
    shared: dict[Headers, Headers] = {}
    found = []
    for path, noted in json.loads(data)["files"].items():
        # Manifests of earlier versions note no digest.
        size, crc32c, content_type, cache_control, compressible, digest = [*noted, ""][:6]
        headers = Headers(content_type, cache_control)
        headers = shared.setdefault(headers, headers)
        member = Member(path, FILE, size, 0, None)
        found.append(Entry(path, size, int(crc32c, 16), bytes.fromhex(digest), headers, compressible, member))
    return found


def activated(history: Sequence[str], name: str) -> list[str]:
    """The history after activating `name`; the first is the active revision."""
    if history and history[0] == name:
        return list(history)
    return [name, *history][:REMEMBERED]


def rolled_back(history: Sequence[str], complete: Collection[str]) -> list[str]:
    """The history after going back to the last other revision that is still there; empty if there is none."""
    active = history[0] if history else ""
    for position, name in enumerate(history):
        if name != active and name in complete:
            return list(history[position:])
    return []


def spared(history: Sequence[str], complete: Collection[str]) -> set[str]:
    """What is never pruned: the active revision, and the one that a rollback would go back to."""
    return {*history[:1], *rolled_back(history, complete)[:1]}


def prunable(
    revisions: Sequence[Revision], history: Sequence[str], keep: int, older_than: timedelta, now: datetime
) -> list[Revision]:
    """The revisions that may go, oldest first.

    The active one stays, the one that a rollback would go back to, the newest `keep`, and all that are not
    older than `older_than`.
    """
    needed = spared(history, {revision.name for revision in revisions})
    by_age = sorted(revisions, key=lambda revision: revision.created)
    beyond = by_age[: max(0, len(by_age) - keep)]
    return [r for r in beyond if r.name not in needed and now - r.created > older_than]


def notes(entries: Sequence[Entry]) -> Mapping[str, str]:
    """What a manifest's object says of its revision without being read."""
    return {"lookit-files": str(len(entries)), "lookit-size": str(sum(entry.size for entry in entries))}
