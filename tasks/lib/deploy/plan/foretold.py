"""What a server-side dry run would say of plain data, told without one: ConfigMaps and Secrets that are ours.

The server fills nothing in there, and its only rules are for names, sizes and characters.  Where we applied
all that an object holds, and nobody else anything, there is no conflict either, and afterwards it holds what
is applied.  All beyond that is the server's to tell; who else has a say in a kind is in admission.py.
"""

from collections.abc import Mapping
from typing import Any, Final

from tasks.lib.cluster import validity
from tasks.lib.cluster.api import FIELD_MANAGER, Json
from tasks.lib.deploy.objects import is_going
from tasks.lib.deploy.plan.decide import Action, Step

OPAQUE: Final = "Opaque"
# The maps that each kind holds, besides labels and annotations.
MAPS: Final[Mapping[str, tuple[str, ...]]] = {"ConfigMap": ("data", "binaryData"), "Secret": ("data",)}
NOTES: Final = ("labels", "annotations")
IN_BASE64: Final = frozenset({("ConfigMap", "binaryData"), ("Secret", "data")})


def result(step: Step) -> Json | None:
    """The object as it would be after this step; None where only the server can tell.

    For an object that is made, this is what is sent; the server adds its notes.
    """
    body, live = step.body, step.live
    if step.ref.api_version != "v1" or step.ref.kind not in MAPS or not is_plain(body):
        return None
    if step.action is Action.CREATE:
        return body
    if step.action is not Action.CHANGE or live is None or not is_ours_alone(live):
        return None
    return _replaced(live, body)


def is_plain(body: Json) -> bool:
    """Whether the server would take this for sure, and store it as it is."""
    kind, metadata = body["kind"], body["metadata"]
    known = {"apiVersion", "kind", "metadata", *MAPS[kind]} | ({"type"} if kind == "Secret" else set())
    return (
        body.keys() <= known
        and metadata.keys() <= {"name", "namespace", *NOTES}
        and body.get("type", OPAQUE) == OPAQUE
        and validity.is_name(metadata["name"])
        and all(validity.are_texts(part) for part in _maps(body))
        and validity.are_labels(metadata.get("labels", {}))
        and validity.are_annotations(metadata.get("annotations", {}))
        and _is_data(kind, {name: body.get(name, {}) for name in MAPS[kind]})
        and validity.is_small(body)
    )


def is_ours_alone(live: Json) -> bool:
    """Whether we applied everything that the object holds, nobody else anything, and it may be changed."""
    metadata = live["metadata"]
    entries = metadata.get("managedFields") or []
    if len(entries) != 1 or is_going(live) or "immutable" in live:
        return False
    (entry,) = entries
    told = (entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))
    if told != (FIELD_MANAGER, "Apply", "v1", "") or live.get("type", OPAQUE) != OPAQUE:
        return False
    fields = entry.get("fieldsV1") or {}
    notes = fields.get("f:metadata") or {}
    owned = [*((live.get(name), fields.get(f"f:{name}")) for name in MAPS[live["kind"]])]
    owned += [(metadata.get(name), notes.get(f"f:{name}")) for name in NOTES]
    return all({f"f:{key}" for key in there or {}} <= (ours or {}).keys() for there, ours in owned)


def _replaced(live: Json, body: Json) -> Json:
    """`live` with the maps of `body` and no others; the server leaves empty ones out."""
    metadata = _with(live["metadata"], body["metadata"], NOTES)
    return {**_with(live, body, MAPS[body["kind"]]), "metadata": metadata}


def _with(thing: Json, other: Json, names: tuple[str, ...]) -> Json:
    rest = {key: value for key, value in thing.items() if key not in names}
    return rest | {name: other[name] for name in names if other.get(name)}


def _maps(body: Json) -> list[Any]:
    """Every map that the body has, whatever it really is."""
    holders = [(body, MAPS[body["kind"]]), (body["metadata"], NOTES)]
    return [holder[name] for holder, names in holders for name in names if name in holder]


def _is_data(kind: str, maps: Mapping[str, Mapping[str, str]]) -> bool:
    keys = [key for part in maps.values() for key in part]
    encoded = [value for name, part in maps.items() if (kind, name) in IN_BASE64 for value in part.values()]
    return (
        all(map(validity.is_data_key, keys))
        and len(set(keys)) == len(keys)
        and all(map(validity.is_base64, encoded))
    )
