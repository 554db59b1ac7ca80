"""Taking over objects from the tools that deployed before, so that fields gone from the manifests go too.

`kubectl apply` without --server-side recorded what it wrote as a plain update.  Server-side apply removes
only fields that its own manager applied before, so such records are moved to our manager first.  kubectl does
the same when someone changes to --server-side (k8s.io/client-go/util/csaupgrade).
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from tasks.lib.cluster.api import FIELD_MANAGER, Json
from tasks.lib.deploy.managed import at

PATCH_TYPE: Final = "application/json-patch+json"
Fields = Mapping[str, Any]
Path = tuple[str, ...]


def patch(live: Json, predecessors: Collection[str]) -> list[Json]:
    """The JSON patch that moves the predecessors' records to our manager; empty if there is nothing to move.

    It fails when the object has changed since `live` was read.
    """
    entries: list[Json] = live["metadata"].get("managedFields") or []
    version = live["apiVersion"]
    moved = [e for e in entries if _is_theirs(e, predecessors, version)]
    if not moved:
        return []
    ours = next((e for e in entries if _is_ours(e, version)), None)
    fields: Fields = (ours or {}).get("fieldsV1") or {}
    for entry in moved:
        fields = union(fields, entry.get("fieldsV1") or {})
    taken = {
        "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": version, "time": moved[0]["time"],
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }  # fmt: skip
    kept = [e for e in entries if e not in moved and e is not ours]
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": [*kept, taken]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]


def foreseen(live: Json, predecessors: Collection[str], body: Json, result: Json) -> Json:
    """What a dry run would have shown if the predecessors' records were ours already.

    A dry run cannot be made after another, so what goes is told from the records: fields that predecessors or
    we set, that nobody else did, and that are not applied any more.  Where the server has a default for such
    a field, it comes instead.

    Args:
        live: the object as it is.
        predecessors: field managers whose records become ours.
        body: what is applied.
        result: the object as the dry run says it would be.

    """
    moves = patch(live, predecessors)
    if not moves:
        return result
    *kept, taken = moves[0]["value"]
    others: Fields = {}
    for entry in kept:
        others = union(others, entry.get("fieldsV1") or {})
    after = copy.deepcopy(result)
    for path in sorted(_lost(taken["fieldsV1"], others, body)):
        _remove(after, path)
    return after


def _lost(fields: Fields, others: Fields, body: Any, path: Path = ()) -> Iterator[Path]:
    """Where `fields` lead that `body` has nothing and no other manager has a part."""
    for key, inner in fields.items():
        if key == ".":
            continue
        wanted = at(body, (key,))
        if wanted is None and key not in others:
            yield (*path, key)
        elif inner:
            yield from _lost(inner, others.get(key) or {}, wanted, (*path, key))


def _remove(thing: Json, path: Path) -> None:
    """Take what is at `path` out of `thing`, if it is there."""
    parent, value = at(thing, path[:-1]), at(thing, path)
    if isinstance(parent, dict):
        parent.pop(path[-1].partition(":")[2], None)
    elif isinstance(parent, list) and value in parent:
        parent.remove(value)


def union(one: Fields, other: Fields) -> Fields:
    """Two sets of fields as one."""
    merged = dict(one)
    for key, value in other.items():
        merged[key] = union(merged[key], value) if key in merged else value
    return merged


def _is_theirs(entry: Json, predecessors: Collection[str], version: str) -> bool:
    """Status and scale are other people's; so are records in an older version of the API."""
    return (
        entry["manager"] in predecessors and not entry.get("subresource") and entry["apiVersion"] == version
    )


def _is_ours(entry: Json, version: str) -> bool:
    mine = (entry["manager"], entry["operation"]) == (FIELD_MANAGER, "Apply")
    return mine and entry["apiVersion"] == version and not entry.get("subresource")
