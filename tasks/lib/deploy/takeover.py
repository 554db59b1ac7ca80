"""Taking over objects from the tools that deployed before, so that fields gone from the manifests go too.

`kubectl apply` without --server-side recorded what it wrote as a plain update.  Server-side apply removes
only fields that its own manager applied before, so such records are moved to our manager first.  kubectl does
the same when someone changes to --server-side (k8s.io/client-go/util/csaupgrade).
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from tasks.lib.cluster.api import FIELD_MANAGER, Json

PATCH_TYPE: Final = "application/json-patch+json"
Fields = Mapping[str, Any]


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
