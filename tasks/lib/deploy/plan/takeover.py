"""Taking over objects from the tools that deployed before, so that fields gone from the manifests go too.

Server-side apply removes only fields that its own manager applied before, so what the server recorded for
`kubectl apply` and the like is moved to our manager first.  kubectl does the same when someone changes to
--server-side (k8s.io/client-go/util/csaupgrade).

On objects older than such records, the server puts all that they hold, its own defaults included, down to
`before-first-apply`.  What was applied to these, only the copy tells that kubectl keeps in an annotation.
"""

import copy
import json
import time
from collections.abc import Collection, Sequence
from typing import Any, Final

from tasks.lib.cluster.api import FIELD_MANAGER, Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.objects import as_stored
from tasks.lib.deploy.plan.decide import Step
from tasks.lib.deploy.plan.diff import COPY
from tasks.lib.deploy.plan.managed_fields import Fields, at, fields_of, only_in, remove, union
from tasks.lib.deploy.plan.observe import PAUSES

DRY_RUN: Final = {"dryRun": "All"}
PATCH_TYPE: Final = "application/json-patch+json"
# What the server calls whoever wrote an object that had no records when it was first applied to.
UNRECORDED: Final = "before-first-apply"
# What an update of an object cannot change, or leaves to the server.
FIXED: Final = frozenset({"apiVersion", "kind", "metadata", "status"})


def is_due(live: Json | None, predecessors: Collection[str]) -> bool:
    """Whether predecessors applied something to the object that is not ours yet."""
    return live is not None and (is_unrecorded(live) or bool(_moved(live, predecessors)))


def with_records(live: Json, result: Json) -> Json:
    """`live`; where nothing was recorded, with the record that the server makes of it at a first apply.

    Args:
        live: the object as it is.
        result: what a dry run of applying to it gave.

    """
    if not is_unrecorded(live):
        return live
    made = [
        entry for entry in result["metadata"].get("managedFields") or [] if entry["manager"] == UNRECORDED
    ]
    return {**live, "metadata": {**live["metadata"], "managedFields": made}}


def patch(live: Json, predecessors: Collection[str]) -> list[Json]:
    """The JSON patch that moves the predecessors' records to our manager; empty if there is nothing to move.

    It fails when the object has changed since `live` was read.
    """
    entries: list[Json] = live["metadata"].get("managedFields") or []
    moved = _moved(live, predecessors)
    if not moved:
        return []
    ours = [entry for entry in entries if _is_ours(entry, live["apiVersion"])]
    taken = {
        "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": live["apiVersion"],
        "time": moved[0]["time"], "fieldsType": "FieldsV1",
        "fieldsV1": union(fields_of(ours), _applied(moved, live)),
    }  # fmt: skip
    kept = [entry for entry in entries if entry not in moved and entry not in ours]
    return [
        {"op": "add", "path": "/metadata/managedFields", "value": [*kept, taken]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]


def removal(live: Json, predecessors: Collection[str], result: Json) -> list[Json]:
    """The JSON patch that leaves of a dry run's result what would be left if the object were ours already.

    A dry run cannot follow another, and the first removes nothing that predecessors applied.  Of that, what
    nobody else has a part in goes; sent as a dry run, this shows where the server has a default instead.

    Args:
        live: the object as it is.
        predecessors: field managers whose records become ours.
        result: the object as the dry run says it would be, its records included.

    """
    moved, theirs = _moved(live, predecessors), _moved(result, predecessors)
    kept = [entry for entry in result["metadata"].get("managedFields") or [] if entry not in theirs]
    after = copy.deepcopy(result)
    for path in sorted(only_in(_applied(moved, live), fields_of(kept))):
        remove(after, path)
    content = {f"/{name}": after.get(name) for name in result.keys() - FIXED}
    notes = {f"/metadata/{name}": after["metadata"].get(name) for name in ("labels", "annotations")}
    return [{"op": "add", "path": path, "value": value} for path, value in {**content, **notes}.items()]


def is_unrecorded(live: Json) -> bool:
    """Whether nothing but kubectl's copy tells what was applied to the object."""
    return not live["metadata"].get("managedFields") and COPY in (live["metadata"].get("annotations") or {})


def _moved(live: Json, predecessors: Collection[str]) -> list[Json]:
    """The records that become ours; status and scale are other people's, older versions of the API too."""
    return [
        entry
        for entry in live["metadata"].get("managedFields") or []
        if entry["manager"] in predecessors
        and not entry.get("subresource")
        and entry["apiVersion"] == live["apiVersion"]
        and (entry["manager"] != UNRECORDED or _kubectls_copy(live) is not None)
    ]


def _is_ours(entry: Json, version: str) -> bool:
    mine = (entry["manager"], entry["operation"]) == (FIELD_MANAGER, "Apply")
    return mine and entry["apiVersion"] == version and not entry.get("subresource")


def _kubectls_copy(live: Json) -> Json | None:
    """The object as `kubectl apply` last applied it, this very annotation included."""
    annotations = live["metadata"].get("annotations") or {}
    try:
        applied = json.loads(annotations.get(COPY, ""))
        metadata = applied["metadata"]
        noted = {**(metadata.get("annotations") or {}), COPY: annotations[COPY]}
        return as_stored({**applied, "metadata": {**metadata, "annotations": noted}})
    except (ValueError, TypeError, KeyError, AttributeError):  # somebody else wrote it
        return None


def _applied(moved: Sequence[Json], live: Json) -> Fields:
    """What predecessors applied: all that they recorded; of what nobody recorded, what kubectl's copy has."""
    unrecorded = [entry for entry in moved if entry["manager"] == UNRECORDED]
    recorded = [entry for entry in moved if entry["manager"] != UNRECORDED]
    return union(fields_of(recorded), _found_in(_kubectls_copy(live), fields_of(unrecorded)))


def _found_in(thing: Any, fields: Fields) -> Fields:
    """The part of `fields` that leads to something in `thing`."""
    found = {key: (inner, at(thing, (key,))) for key, inner in fields.items() if key != "."}
    part = {key: _found_in(there, inner) for key, (inner, there) in found.items() if there is not None}
    return {**part, **({".": {}} if "." in fields else {})}


def tried(api: Api, path: str, step: Step, predecessors: Collection[str], result: Json) -> Json:
    """What the dry run of a change would have given if what predecessors applied were ours already.

    Args:
        api: the server.
        path: where the object is.
        step: the change.
        predecessors: field managers whose records become ours.
        result: what the dry run gave.

    Raises:
        ApiError: the cluster refuses to remove what the manifests no longer have.

    """
    live = step.live or {}
    if not is_due(live, predecessors):
        return result
    return api.request(
        "PATCH", path, doing=f"try to take over {step.ref}", body=removal(live, predecessors, result),
        content_type=PATCH_TYPE, query=DRY_RUN,
    )  # fmt: skip


def take_over(api: Api, path: str, step: Step, predecessors: Collection[str]) -> None:
    """Move the predecessors' records to our manager; an object that changed meanwhile is looked at again.

    The look may be minutes old, and the status of what runs changes all the time.
    """
    live = step.live or {"metadata": {}}
    for pause in (*PAUSES, None):
        moves = patch(live, predecessors)
        if not moves:
            return
        try:
            doing = f"take over {step.ref} from what deployed it before"
            api.request("PATCH", path, doing=doing, body=moves, content_type=PATCH_TYPE)
        except ApiError as error:
            if error.status != 409 or pause is None:
                raise
            time.sleep(pause)
            live = _looked_at_again(api, path, step)
        else:
            return


def _looked_at_again(api: Api, path: str, step: Step) -> Json:
    live = api.get(path, doing=f"read {step.ref}")
    if not is_unrecorded(live):
        return live
    query = {**DRY_RUN, "force": "true"}
    return with_records(live, api.apply(path, step.body, doing=f"try to apply {step.ref}", query=query))
