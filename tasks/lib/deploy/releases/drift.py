"""Whether a cluster still is what a release made of it: the fields that it sets, and what others added.

Live objects are compared with the release's by a server-side dry run, so that the server's own way of
writing a value is no difference; nothing is changed.  Of Secrets only names and keys are known.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import FIELD_MANAGER, Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kinds
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import Ref, Wanted, contains, is_going, managed_fields
from tasks.lib.deploy.plan.decide import get, observe
from tasks.lib.deploy.plan.diff import changes
from tasks.lib.deploy.plan.field_managers import at, paths, spelled
from tasks.lib.deploy.plan.takeover import UNRECORDED
from tasks.lib.deploy.steps import Change
from tasks.lib.redaction import REDACTED

# Managers that are parts of the cluster, which complete objects as a matter of course.
CONTROLLERS: Final = re.compile(r"controller|kubelet|^kube-|scheduler|glbc|cert-manager|gke|ingress|kwok")
# Where other people's entries are no concern of a release.
OTHERS: Final = ("status", "metadata.annotations", "metadata.finalizers", "metadata.ownerReferences")
# What a manifest may say and the server does not keep.
DROPPED: Final = frozenset({None, "{}", "[]"})
DRY_RUN: Final = {"dryRun": "All", "force": "true"}


@dataclass(frozen=True)
class Drifted:
    """One object that is not as its release made it."""

    ref: Ref
    state: str  # `missing`, `changed`, or `extra` where others only added to it
    changes: tuple[Change, ...] = ()  # the fields: before is the release's value, after the live one
    by: tuple[str, ...] = ()  # the managers other than this project and the cluster's own that wrote to it


def find(api: Api, kinds: Kinds, wanted: Sequence[Wanted], past: Release) -> list[Drifted]:
    """Every object of a release that is not as the release made it; nothing is changed."""
    kept = secrets_of(past)
    there = side_by_side(lambda ref: get(api, kinds[ref.key], ref), kept, CONNECTIONS)
    secrets = {ref: live for ref, live in zip(kept, there, strict=True) if live}
    return between(api, kinds, wanted, past, {**observe(api, kinds, wanted), **secrets})


def between(
    api: Api, kinds: Kinds, wanted: Sequence[Wanted], past: Release, live: Mapping[Ref, Json]
) -> list[Drifted]:
    """The same, of the live objects and Secrets that were read already."""
    found = side_by_side(lambda w: _of_object(api, kinds, w, live.get(w.ref)), wanted, CONNECTIONS)
    secrets = [_of_secret(ref, keys, live.get(ref)) for ref, keys in secrets_of(past).items()]
    return [one for one in [*found, *secrets] if one]


def secrets_of(past: Release) -> dict[Ref, list[str]]:
    """The Secrets of a release, with their keys."""
    listed = json.loads(past.facts.get("secrets", "[]"))
    return {Ref("v1", "Secret", one["namespace"], one["name"]): one["keys"] for one in listed}


def compare(w: Wanted, live: Json, intended: Json) -> Drifted | None:
    """How a live object differs from what applying it again would make of it, and what others added to it."""
    differing = [_turned(change) for change in changes(live, intended)]
    if ends := live["metadata"].get("deletionTimestamp"):
        differing.append(Change("metadata.deletionTimestamp", None, ends))
    return _drifted(w, live, differing)


def compare_as_written(w: Wanted, live: Json, refusal: str) -> Drifted | None:
    """How a live object differs where the server refuses to try: by the release's own way of writing."""
    written = (change for change in changes(live, w.body) if change.after not in DROPPED)
    differing = [_turned(change) for change in written]
    return _drifted(w, live, differing or [Change("cannot be compared", None, refusal)])


def _drifted(w: Wanted, live: Json, differing: Sequence[Change]) -> Drifted | None:
    extra = [Change(field, None, text) for field, text in added(live, w.body)]
    if not differing and not extra:
        return None
    return Drifted(w.ref, "changed" if differing else "extra", (*differing, *extra), others(live))


def added(live: Json, body: Json) -> Iterator[tuple[str, str]]:
    """Fields, with their values, that others manage and the release does not set."""
    entries = managed_fields(live)
    theirs = {path for entry in entries if is_stranger(entry) for path in paths(entry)}
    for path in sorted(theirs):
        dotted = spelled(path)
        value = at(live, path)
        if not dotted.startswith(OTHERS) and value is not None and at(body, path) is None:
            yield dotted, str(value)


def others(live: Json) -> tuple[str, ...]:
    """Who else wrote to an object."""
    entries = managed_fields(live)
    return tuple(sorted({entry["manager"] for entry in entries if is_stranger(entry)}))


def is_stranger(entry: Json) -> bool:
    """Whether a record of managed fields is neither ours nor the cluster's own nor that of nobody known."""
    own = entry["manager"] in {FIELD_MANAGER, UNRECORDED} or CONTROLLERS.search(entry["manager"])
    return not own and entry.get("subresource", "") in {"", "scale"}


def _turned(change: Change) -> Change:
    return Change(change.field, change.after, change.before)


def _of_object(api: Api, kinds: Kinds, w: Wanted, live: Json | None) -> Drifted | None:
    # A finished Job with a time to live goes away by itself.
    goes_away = w.ref.is_job and "ttlSecondsAfterFinished" in w.body["spec"]
    if goes_away and (live is None or is_going(live)):
        return None
    kind = kinds.get(w.ref.key)
    if kind is None:  # it may be there in another version
        gone = Change("apiVersion", w.ref.api_version, "no longer served by the cluster")
        return Drifted(w.ref, "changed", (gone,))
    if live is None:
        return Drifted(w.ref, "missing")
    if contains(live, w.body):
        return compare(w, live, live)
    path = kind.path(w.ref.namespace, w.ref.name)
    try:
        intended = api.apply(path, w.body, doing=f"compare {w.ref}", query=DRY_RUN)
    except ApiError as error:
        # It cannot be changed back: a field is immutable, or does not go with what others wrote.
        return compare_as_written(w, live, error.message)
    return compare(w, live, intended)


def _of_secret(ref: Ref, keys: Sequence[str], live: Json | None) -> Drifted | None:
    """How a Secret of the release differs: it is gone, or has other keys."""
    return Drifted(ref, "missing") if live is None else compare_keys(ref, keys, {**live, "kind": "Secret"})


def compare_keys(ref: Ref, keys: Sequence[str], live: Json) -> Drifted | None:
    """How a live Secret differs, as far as that can be known without its values."""
    there = set(live.get("data") or {})
    entries = managed_fields(live)
    strange = {spelled(path) for entry in entries if is_stranger(entry) for path in paths(entry)}
    theirs = {key for key in there if f"data.{key}" in strange}
    lost = [Change(f"data.{key}", REDACTED, None) for key in sorted(set(keys) - there)]
    extra = [Change(f"data.{key}", None, REDACTED) for key in sorted(theirs - set(keys))]
    rewritten = [
        Change(f"data.{key}", REDACTED, f"{REDACTED}, another") for key in sorted(theirs & set(keys))
    ]
    found = (*lost, *rewritten, *extra)
    state = "changed" if lost or rewritten else "extra"
    return Drifted(ref, state, found, others(live)) if found else None
