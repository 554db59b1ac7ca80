"""Whose an object is: what its label and its field managers say."""

from collections.abc import Collection
from typing import Final

from tasks.lib.cluster.api import FIELD_MANAGER, Json
from tasks.lib.deploy.objects import Wanted

# Its value is the environment's namespace: the cluster's mark sees to it that each holds one environment.
LABEL: Final = "lookit-orchestrator/owner"


def labelled(w: Wanted, owner: str) -> Wanted:
    """The same object with our label; selectors and the templates of pods stay as they are."""
    metadata = w.body["metadata"]
    labels = {**(metadata.get("labels") or {}), LABEL: owner}
    return Wanted(w.ref, {**w.body, "metadata": {**metadata, "labels": labels}})


def owner_of(thing: Json) -> str:
    """What our label says on an object; empty without one."""
    return str((thing["metadata"].get("labels") or {}).get(LABEL, ""))


def other_managers(live: Json, controllers: Collection[str]) -> list[str]:
    """Who else wrote fields of an object, its status apart; sorted.

    Args:
        live: the object.
        controllers: managers that only complete what others deploy.

    """
    entries = live["metadata"].get("managedFields") or []
    ours = {FIELD_MANAGER, *controllers}
    return sorted(
        {e["manager"] for e in entries if e["manager"] not in ours and e.get("subresource") != "status"}
    )


def is_ours(live: Json) -> bool:
    """Whether this project applied the object, and nothing that lives made it."""
    metadata = live["metadata"]
    applied = any(
        (entry["manager"], entry["operation"]) == (FIELD_MANAGER, "Apply")
        for entry in metadata.get("managedFields") or []
    )
    return applied and not metadata.get("ownerReferences")
