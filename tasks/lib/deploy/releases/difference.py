"""How two releases differ, object by object and field by field: a pure comparison of what history kept."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import is_job
from tasks.lib.deploy.plan.diff import Change, changes
from tasks.lib.deploy.releases.history import Release
from tasks.lib.errors import UsageError
from tasks.lib.redaction import REDACTED

# kustomize's generators put a hash behind the names of ConfigMaps and Secrets.
HASHED: Final = frozenset({"ConfigMap", "Secret"})
HASH: Final = re.compile(r"-[2456789bcdfghkmt]{10}$")
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Difference:
    """One object that differs.

    Args:
        name: its name in the later release, or in the earlier one if it is gone.
        action: `added`, `removed` or `changed`.
        changes: the fields that differ, of a changed one.

    """

    kind: str
    name: str
    action: str
    changes: tuple[Change, ...] = ()


def pick(past: Sequence[Release], numbers: Sequence[int], environment: str) -> tuple[Release, Release]:
    """The two releases to compare, the earlier one first as it was named.

    Args:
        past: what is kept, the newest first.
        numbers: both; or one, which is compared with the newest; or none, for the two newest.  The newest are
            those whose objects are kept: of a deploy that was killed nobody knows them.
        environment: its name, to say how they are listed.

    Raises:
        UsageError: there are no such two.

    """
    if len(numbers) > 2:
        raise UsageError("Two releases can be compared.", f"{len(numbers)} were named.")
    kept = [one.number for one in past if one.packed]
    if len(numbers) < 2 and (len(past) < 2 or len(kept) < 2 - len(numbers)):
        raise UsageError("There are no two releases to compare.", f"Kept with their objects: {len(kept)}.")
    wanted = {0: kept[1::-1], 1: [*numbers, *kept[:1]]}
    first, second = wanted.get(len(numbers), list(numbers))
    return find(past, first, environment), find(past, second, environment)


def find(past: Sequence[Release], number: int, environment: str) -> Release:
    """Release `number`.

    Raises:
        UsageError: it is not kept; the message says which are.

    """
    if found := next((one for one in past if one.number == number), None):
        return found
    raise UsageError(
        f"There is no release {number}.",
        f"Kept: {', '.join(str(one.number) for one in past) or 'none'}.",
        f"./inv release.list --environment {environment}",
    )


def differences(before: Release, after: Release) -> list[Difference]:
    """How the objects of two releases differ, sorted by kind and name."""
    old, new = _by_key(contents(before)), _by_key(contents(after))
    if "back_to" in {**before.facts, **after.facts}:  # that leaves Jobs out, and removes none
        old, new = _without_jobs(old), _without_jobs(new)
    _match_hashed(old, new)
    found = []
    for key in sorted(old.keys() | new.keys()):
        there, here = old.get(key), new.get(key)
        if there is None or here is None:
            action, thing = ("added", here) if there is None else ("removed", there)
            found.append(Difference(key[0], thing["metadata"]["name"] if thing else key[2], action))
        elif fields := tuple(changes(there, here)):
            found.append(Difference(key[0], here["metadata"]["name"], "changed", fields))
    return found


def contents(past: Release) -> list[Json]:
    """The objects of a release; its Secrets with their keys, without values."""
    secrets = [
        {
            "kind": "Secret",
            "metadata": {"name": one["name"], "namespace": one["namespace"]},
            "data": dict.fromkeys(one["keys"], REDACTED),
        }
        for one in json.loads(past.facts.get("secrets", "[]"))
    ]
    return [*past.objects(), *secrets]


def _by_key(things: Iterable[Json]) -> dict[Key, Json]:
    return {(t["kind"], t["metadata"].get("namespace", ""), t["metadata"]["name"]): t for t in things}


def _without_jobs(things: dict[Key, Json]) -> dict[Key, Json]:
    return {key: thing for key, thing in things.items() if not is_job(thing)}


def _match_hashed(old: dict[Key, Json], new: dict[Key, Json]) -> None:
    """Give a generated object of both releases the same key, though its hash changed.

    Of a changed Secret that shows just the name: the hash tells of a value that nobody may know.
    """
    for things in (old, new):
        count = Counter(map(_bare, things))
        for key in list(things):
            bare = _bare(key)
            if bare != key and count[bare] == 1:
                things[bare] = things.pop(key)


def _bare(key: Key) -> Key:
    kind, namespace, name = key
    return (kind, namespace, HASH.sub("", name)) if kind in HASHED else key
