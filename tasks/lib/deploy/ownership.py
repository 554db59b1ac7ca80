"""Whose an object is: what its field managers say."""

from collections.abc import Collection

from tasks.lib.cluster.api import FIELD_MANAGER, Json


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
