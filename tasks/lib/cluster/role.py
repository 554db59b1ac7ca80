"""Permissions as roles: the manifest that grants a deployer exactly what a deploy uses."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.permissions import Permission

NAME: Final = "lookit-deployer"
RBAC: Final = "rbac.authorization.k8s.io"


def manifest(permissions: Iterable[Permission], account: str) -> list[Json]:
    """A role per namespace and one for the whole cluster, each bound to `account` (a user's mail address)."""
    by_namespace: dict[str, list[Permission]] = defaultdict(list)
    for permission in permissions:
        by_namespace[permission.namespace].append(permission)
    return [
        thing
        for namespace in sorted(by_namespace)
        for thing in _pair(namespace, by_namespace[namespace], account)
    ]


def _pair(namespace: str, permissions: list[Permission], account: str) -> tuple[Json, Json]:
    scope = "" if namespace else "Cluster"
    metadata = {"name": NAME, **({"namespace": namespace} if namespace else {})}
    version = f"{RBAC}/v1"
    role = {"apiVersion": version, "kind": f"{scope}Role", "metadata": metadata, "rules": _rules(permissions)}
    binding = {
        "apiVersion": version,
        "kind": f"{scope}RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": f"{scope}Role", "name": NAME},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": account}],
    }
    return role, binding


def _rules(permissions: list[Permission]) -> list[Json]:
    """One rule for all resources of a group that need the same verbs."""
    verbs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for permission in permissions:
        verbs[permission.group, permission.resource].append(permission.verb)
    resources: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource), needed in sorted(verbs.items()):
        resources[group, tuple(sorted(needed))].append(resource)
    return [
        {"apiGroups": [group], "resources": named, "verbs": list(needed)}
        for (group, needed), named in sorted(resources.items())
    ]
