"""Looking at what was deployed: a release, how two differ, and whether the cluster is as the last left it."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy import history, maintenance
from tasks.lib.deploy.events import ReleaseResult
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import is_job, wanted
from tasks.lib.deploy.plan.diff import changes, masked
from tasks.lib.deploy.releases import drift, store
from tasks.lib.deploy.steps import Change
from tasks.lib.errors import ChangesFound, Failure, UsageError
from tasks.lib.redaction import REDACTED, Redactor
from tasks.lib.secrets import sensitive
from tasks.lib.settings.model import Environment, Settings

# kustomize's generators put a hash behind the names of ConfigMaps and Secrets.
HASHED: Final = frozenset({"ConfigMap", "Secret"})
HASH: Final = re.compile(r"-[2456789bcdfghkmt]{10}$")
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Difference:
    """One object that differs."""

    kind: str
    name: str  # its name in the later release, or in the earlier one if it is gone
    action: str  # `added`, `removed` or `changed`
    changes: tuple[Change, ...] = ()  # the fields that differ, of a changed one


def pick(past: Sequence[Release], numbers: Sequence[int], environment: str) -> tuple[Release, Release]:
    """The two releases to compare, the earlier one first as named; raises UsageError where there are no two.

    `numbers` are both; or one, which is compared with the newest; or none, for the two newest.  The newest
    are those whose objects are kept: of a deploy that was killed nobody knows them.
    """
    if len(numbers) > 2:
        raise UsageError("Two releases can be compared.", f"{len(numbers)} were named.")
    kept = [one.number for one in past if one.packed]
    if len(numbers) < 2 and (len(past) < 2 or len(kept) < 2 - len(numbers)):
        raise UsageError("There are no two releases to compare.", f"Kept with their objects: {len(kept)}.")
    wanted = {0: kept[1::-1], 1: [*numbers, *kept[:1]]}
    first, second = wanted.get(len(numbers), list(numbers))
    return history.find(past, first, environment), history.find(past, second, environment)


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


@dataclass(frozen=True)
class Status:
    """How an environment stands."""

    release: history.Release
    drifted: tuple[drift.Drifted, ...]
    killed: history.Release | None = None  # a later deploy that was killed, which nothing followed

    def require_no_drift(self) -> None:
        """Raise ChangesFound where something is not as the release made it."""
        if self.drifted:
            raise ChangesFound(
                f"{len(self.drifted)} objects have drifted from release {self.release.number}."
            )


def releases(settings: Settings, environment: Environment) -> list[history.Release]:
    """The releases that are kept, the newest first."""
    with gke.reached(settings, environment) as connection:
        return store.read(connection.api, environment.namespace)


def show(settings: Settings, environment: Environment, number: int | None) -> history.Release:
    """Release `number`, or the newest for None; raises a Failure where it is not kept."""
    past = _some(releases(settings, environment), environment)
    return past[0] if number is None else history.find(past, number, environment.name)


def compare(
    settings: Settings, environment: Environment, numbers: Sequence[int]
) -> tuple[history.Release, history.Release, list[Difference]]:
    """Two releases and how their objects differ; raises UsageError where they are not kept."""
    with gke.reached(settings, environment) as connection:
        past = _some(store.read(connection.api, environment.namespace), environment)
        before, after = pick(past, numbers, environment.name)
        redactor = _redactor(settings, environment, connection)
    found = differences(before, after)
    return before, after, [replace(one, changes=masked(one.changes, redactor)) for one in found]


def status(settings: Settings, environment: Environment) -> Status:
    """The newest release, and where the cluster is not as it made it; nothing is changed.

    Raises Failure where nothing was deployed yet, or the release's objects are not kept.
    """
    with gke.reached(settings, environment) as connection:
        past = _some(store.read(connection.api, environment.namespace), environment)
        chosen = in_force(past, environment.name)
        objects = wanted(set_by(chosen, past), connection.kinds, environment.namespace)
        now = maintenance.read(connection.api, environment.namespace)
        objects = maintenance.formed(objects, now, environment, settings.image.repository)
        found = drift.find(connection.api, connection.kinds, objects, chosen)
        redactor = _redactor(settings, environment, connection)
        drifted = tuple(replace(one, changes=masked(one.changes, redactor)) for one in found)
        return Status(chosen, drifted, past[0] if past[0].result is ReleaseResult.KILLED else None)


def in_force(past: Sequence[history.Release], environment: str) -> history.Release:
    """The release that should be running: the newest that ended, or the one that it rolled back to.

    Raises UsageError where that is no longer kept.
    """
    newest = _newest(past)
    restored = newest.rolled_back_to
    return newest if restored is None else history.find(past, restored, environment)


def set_by(chosen: history.Release, past: Sequence[history.Release]) -> list[Json]:
    """The objects as the release in force set them: one that came back by itself left later Jobs in place."""
    came_back = chosen is not _newest(past)
    return [body for body in chosen.objects() if not (came_back and is_job(body))]


def _newest(past: Sequence[history.Release]) -> history.Release:
    """The newest that ended."""
    return next((one for one in past if one.result is not ReleaseResult.KILLED), past[0])


def _some(past: list[history.Release], environment: Environment) -> list[history.Release]:
    if not past:
        raise Failure(
            f"Nothing was deployed to {environment.name} yet.",
            "The cluster keeps no release of it.",
            f"./inv deploy --branch {shlex.quote(environment.branch)}",
        )
    return past


def _redactor(settings: Settings, environment: Environment, connection: Connection) -> Redactor:
    """What takes the values of the namespace's Secrets out; nothing for those who may not read them."""
    redactor = Redactor(public=sensitive.public(settings))
    with suppress(ApiError):
        path = f"/api/v1/namespaces/{environment.namespace}/secrets"
        found, _ = connection.api.list(path, doing="list secrets")
        redactor.learn(sensitive.in_objects(found, redactor.public))
    return redactor
