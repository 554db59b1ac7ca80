"""Taking objects over from the tools that deployed them, so that fields gone from the manifests are removed.

Server-side apply removes a field only where the same manager applied it before.  So, before our first apply,
the fields that predecessors such as `kubectl apply` own are put down to our manager.  kubectl does the same
when someone changes to --server-side (k8s.io/client-go/util/csaupgrade).

An object older than managed fields has none.  At the first apply the server puts down all that it holds, its
own defaults included, to a manager called `before-first-apply`.  Of these fields only those become ours that
kubectl's copy, the annotation last-applied-configuration, shows to have been applied.
"""

import copy
import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from tasks.lib.cluster.api import FIELD_MANAGER, Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.objects import annotations, as_stored, managed_fields
from tasks.lib.deploy.plan.decide import PAUSES
from tasks.lib.deploy.plan.diff import COPY
from tasks.lib.deploy.plan.field_managers import Fields, at, fields_of, is_our_apply, only_in, remove, union
from tasks.lib.deploy.steps import Step

DRY_RUN: Final = {"dryRun": "All"}
PATCH_TYPE: Final = "application/json-patch+json"
UNRECORDED: Final = "before-first-apply"
# What an update of an object cannot change, or leaves to the server.
FIXED: Final = frozenset({"apiVersion", "kind", "metadata", "status"})


@dataclass(frozen=True)
class Entries:
    """The managed fields of an object by what becomes of them."""

    ours: list[Json] = field(default_factory=list)  # what this project applied
    inherited: list[Json] = field(default_factory=list)  # what predecessors own, which becomes ours
    # The rest, which stays: status and scale, other managers, older versions of the API.
    others: list[Json] = field(default_factory=list)


def sort_entries(live: Json, predecessors: Collection[str]) -> Entries:
    """The managed fields of an object, sorted."""
    found = Entries()
    for entry in managed_fields(live):
        is_present = entry["apiVersion"] == live["apiVersion"] and not entry.get("subresource")
        if is_present and is_our_apply(entry):
            found.ours.append(entry)
        elif is_present and entry["manager"] in predecessors and _is_known(entry, live):
            found.inherited.append(entry)
        else:
            found.others.append(entry)
    return found


def is_due(live: Json | None, predecessors: Collection[str]) -> bool:
    """Whether predecessors own something of the object."""
    return live is not None and (_has_copy_only(live) or bool(sort_entries(live, predecessors).inherited))


def with_first_entries(live: Json, result: Json) -> Json:
    """`live`; where it has no managed fields, with those that a dry run of its first apply made of it."""
    if not _has_copy_only(live):
        return live
    made = [e for e in managed_fields(result) if e["manager"] == UNRECORDED]
    return {**live, "metadata": {**live["metadata"], "managedFields": made}}


def take_over(api: Api, path: str, step: Step, predecessors: Collection[str]) -> None:
    """Make the predecessors' fields ours; an object that changed meanwhile is read again.

    It may have been read minutes ago, and the status of what runs changes all the time.
    """
    live = step.live or {"metadata": {}}
    for pause in (*PAUSES, None):
        changes = take_over_patch(live, predecessors)
        if not changes:
            return
        try:
            doing = f"take over {step.ref} from what deployed it before"
            api.request("PATCH", path, doing=doing, body=changes, content_type=PATCH_TYPE)
        except ApiError as error:
            if error.status != 409 or pause is None:
                raise
            time.sleep(pause)
            live = _read_again(api, path, step)
        else:
            return


def preview(api: Api, path: str, step: Step, predecessors: Collection[str], result: Json) -> Json:
    """What the dry run of a change would have given had the object been taken over before.

    Dry runs cannot build on one another, and that of a mere apply removes nothing that predecessors applied.
    So its result, less what would be removed, is sent as another: this shows where the server has a default.
    Raises ApiError where the cluster refuses to remove what the manifests no longer have.
    """
    live = step.live or {}
    if not is_due(live, predecessors):
        return result
    return api.request(
        "PATCH", path, doing=f"try to take over {step.ref}", body=preview_patch(live, predecessors, result),
        content_type=PATCH_TYPE, query=DRY_RUN,
    )  # fmt: skip


def take_over_patch(live: Json, predecessors: Collection[str]) -> list[Json]:
    """The JSON patch that makes the predecessors' fields ours; empty if there are none.

    It fails when the object has changed since `live` was read.
    """
    entries = sort_entries(live, predecessors)
    if not entries.inherited:
        return []
    merged = {
        "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": live["apiVersion"],
        "time": entries.inherited[0]["time"], "fieldsType": "FieldsV1",
        "fieldsV1": union(fields_of(entries.ours), _inherited_fields(entries, live)),
    }  # fmt: skip
    return [
        {"op": "add", "path": "/metadata/managedFields", "value": [*entries.others, merged]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]


def preview_patch(live: Json, predecessors: Collection[str], result: Json) -> list[Json]:
    """The JSON patch that sets an object to a dry run's `result` less what taking it over would remove.

    That is what predecessors own of `live` and nobody else owns of `result`.
    """
    inherited = _inherited_fields(sort_entries(live, predecessors), live)
    still = sort_entries(result, predecessors)
    after = copy.deepcopy(result)
    for path in sorted(only_in(inherited, fields_of([*still.ours, *still.others]))):
        remove(after, path)
    content = {f"/{name}": after.get(name) for name in result.keys() - FIXED}
    notes = {f"/metadata/{name}": after["metadata"].get(name) for name in ("labels", "annotations")}
    return [{"op": "add", "path": path, "value": value} for path, value in {**content, **notes}.items()]


def _has_copy_only(live: Json) -> bool:
    """Whether only kubectl's copy tells what was applied to the object."""
    return not managed_fields(live) and COPY in annotations(live)


def _is_known(entry: Json, live: Json) -> bool:
    """Whether it is known which of these fields were applied: without kubectl's copy, not of all objects."""
    return entry["manager"] != UNRECORDED or _kubectls_copy(live) is not None


def _inherited_fields(entries: Entries, live: Json) -> Fields:
    """What predecessors applied: all that they own; of `before-first-apply` only what kubectl's copy has."""
    owned = [entry for entry in entries.inherited if entry["manager"] != UNRECORDED]
    unrecorded = [entry for entry in entries.inherited if entry["manager"] == UNRECORDED]
    return union(fields_of(owned), _found_in(_kubectls_copy(live), fields_of(unrecorded)))


def _kubectls_copy(live: Json) -> Json | None:
    """The object as `kubectl apply` last applied it, this very annotation included."""
    there = annotations(live)
    try:
        applied = json.loads(there.get(COPY, ""))
        metadata = applied["metadata"]
        noted = {**annotations(applied), COPY: there[COPY]}
        return as_stored({**applied, "metadata": {**metadata, "annotations": noted}})
    except (ValueError, TypeError, KeyError, AttributeError):  # somebody else wrote it
        return None


def _found_in(thing: Any, fields: Fields) -> Fields:
    """The part of `fields` that leads to something in `thing`."""
    found = {key: (inner, at(thing, (key,))) for key, inner in fields.items() if key != "."}
    part = {key: _found_in(there, inner) for key, (inner, there) in found.items() if there is not None}
    return {**part, **({".": {}} if "." in fields else {})}


def _read_again(api: Api, path: str, step: Step) -> Json:
    live = api.get(path, doing=f"read {step.ref}")
    if not _has_copy_only(live):
        return live
    query = {**DRY_RUN, "force": "true"}
    return with_first_entries(live, api.apply(path, step.body, doing=f"try to apply {step.ref}", query=query))
