"""What the cluster has of the wanted objects: one LIST per kind and namespace, all at the same time."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tasks.lib.cluster.api import CONNECTIONS, Api, Json
from tasks.lib.cluster.kinds import Kind, Kinds
from tasks.lib.cluster.refusal import ApiError
from tasks.lib.deploy.objects import Ref, Wanted, ref_of

# Below this many, one GET each costs less than a list of strangers.
FEW: Final = 2


def observe(api: Api, kinds: Kinds, objects: Iterable[Wanted]) -> dict[Ref, Json]:
    """Read every wanted object that exists; kinds that the cluster does not know yet have none."""
    by_place: dict[tuple[Kind, str], set[Ref]] = {}
    for w in objects:
        if kind := kinds.get((w.ref.api_version, w.ref.kind)):
            by_place.setdefault((kind, w.ref.namespace), set()).add(w.ref)
    with ThreadPoolExecutor(CONNECTIONS, "observe") as pool:
        found = pool.map(lambda place: _read(api, place[0], place[1], by_place[place]), by_place)
        return {ref: thing for part in found for ref, thing in part.items()}


def _read(api: Api, kind: Kind, namespace: str, refs: set[Ref]) -> dict[Ref, Json]:
    if len(refs) <= FEW:
        return {ref: thing for ref in refs if (thing := get(api, kind, ref))}
    items, _ = api.list(kind.path(namespace), doing=f"list {kind.plural}")
    things = ({**item, "apiVersion": kind.api_version, "kind": kind.kind} for item in items)
    return {ref: thing for thing in things if (ref := ref_of(thing)) in refs}


def get(api: Api, kind: Kind, ref: Ref) -> Json | None:
    """One object, or None."""
    try:
        return api.get(kind.path(ref.namespace, ref.name), doing=f"read {ref}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise
