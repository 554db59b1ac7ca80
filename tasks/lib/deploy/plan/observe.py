"""What the cluster has of the wanted objects, and what else earlier releases left there.

One LIST per kind and namespace, all at the same time.
"""

from collections.abc import Iterable
from typing import Final

from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kind, Kinds
from tasks.lib.deploy.objects import Ref, Wanted, ref_of
from tasks.lib.deploy.plan.ownership import LABEL, owner_of

# Up to this many, those that carry our label and one GET each for others cost less than a list of strangers.
FEW: Final = 2
# The seconds before each further look at an object that changes between a look and the act.
PAUSES: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)


def observe(api: Api, kinds: Kinds, objects: Iterable[Wanted], owner: str = "") -> dict[Ref, Json]:
    """Read every wanted object that exists, and those of the same kinds that carry our label.

    Args:
        api: the server.
        kinds: what it serves; a kind that it does not know yet has no objects.
        objects: what is wanted.
        owner: the value of our label; empty to leave others out.

    """
    by_place: dict[tuple[Kind, str], set[Ref]] = {}
    for w in objects:
        if kind := kinds.get((w.ref.api_version, w.ref.kind)):
            by_place.setdefault((kind, w.ref.namespace), set()).add(w.ref)
    found = side_by_side(
        lambda place: _read(api, place[0], place[1], by_place[place], owner), by_place, CONNECTIONS
    )
    return {ref: thing for part in found for ref, thing in part.items()}


def _read(api: Api, kind: Kind, namespace: str, refs: set[Ref], owner: str) -> dict[Ref, Json]:
    few = len(refs) <= FEW
    if few and not owner:
        return _get_each(api, kind, refs)
    query = {"labelSelector": f"{LABEL}={owner}"} if few else None
    items, _ = api.list(kind.path(namespace), doing=f"list {kind.plural}", query=query)
    things = ({**item, "apiVersion": kind.api_version, "kind": kind.kind} for item in items)
    found = {ref: thing for thing in things if (ref := ref_of(thing)) in refs or _has(thing, owner)}
    return found | _get_each(api, kind, refs - found.keys()) if few else found


def _get_each(api: Api, kind: Kind, refs: Iterable[Ref]) -> dict[Ref, Json]:
    return {ref: thing for ref in refs if (thing := get(api, kind, ref))}


def _has(thing: Json, owner: str) -> bool:
    return bool(owner) and owner_of(thing) == owner


def get(api: Api, kind: Kind, ref: Ref) -> Json | None:
    """One object, or None."""
    try:
        return api.get(kind.path(ref.namespace, ref.name), doing=f"read {ref}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise
