"""The permissions that a deploy needs, whether the cluster grants them, and roles that grant them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import BY_NUMBER, ApiError
from tasks.lib.cluster.kinds import Kind
from tasks.lib.errors import Failure

VERBS_TO_APPLY: Final = ("get", "list", "create", "patch")
VERBS_OF_THE_LOCK: Final = ("get", "create", "update", "patch", "watch", "delete")
VERBS_OF_HISTORY: Final = ("get", "list", "create", "patch", "delete")
RBAC: Final = "rbac.authorization.k8s.io"
ROLE: Final = "lookit-deployer"
OPERATOR: Final = "lookit-operator"
# Kinds that are deleted and recreated if a change requires it.
RECREATED: Final = frozenset({"Job", "StorageClass", "RoleBinding", "ClusterRoleBinding"})
# Kinds that a deploy never removes: they hold data, or data depends on them.
NEVER_REMOVED: Final = frozenset({"PersistentVolumeClaim", "Namespace", "CustomResourceDefinition"})

# Kinds that may read configuration and that a deploy looks at for no other reason.
READERS_ALONE: Final = (("apps", "controllerrevisions"), ("batch", "cronjobs"))

# Up to this many permissions in a namespace are checked one by one.
FEW: Final = 5


@dataclass(frozen=True, order=True)
class Permission:
    """One verb on one resource.

    Args:
        namespace: empty for resources of the whole cluster.
        group: the API group; empty for the core one.
        resource: `deployments`, or with a subresource `pods/log`.

    """

    namespace: str
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        dotted = f"{self.resource}.{self.group}" if self.group else self.resource
        where = f"in namespace {self.namespace}" if self.namespace else "in the whole cluster"
        return f"{self.verb} {dotted} {where}"

    def review(self) -> Json:
        """The SelfSubjectAccessReview for it."""
        resource, _, subresource = self.resource.partition("/")
        attributes = {"group": self.group, "resource": resource, "verb": self.verb}
        if subresource:
            attributes["subresource"] = subresource
        if self.namespace:
            attributes["namespace"] = self.namespace
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }


def needed(used: Iterable[tuple[Kind, str]], namespace: str) -> list[Permission]:
    """Every permission that a deploy of these kinds needs, sorted.

    Args:
        used: the applied kinds, each with the namespace of its objects.
        namespace: the environment's, whose workloads are watched.

    """
    permissions = {
        Permission(where if kind.namespaced else "", kind.group, kind.plural, verb)
        for kind, where in used
        for verb in (*VERBS_TO_APPLY, *(() if kind.kind in NEVER_REMOVED else ("delete",)))
    }
    watched = [
        ("", "pods"),
        ("", "events"),
        ("", "persistentvolumeclaims"),
        ("apps", "replicasets"),
        ("apps", "deployments"),
        ("apps", "statefulsets"),
        ("batch", "jobs"),
    ]
    permissions |= {
        Permission(namespace, group, resource, verb)
        for group, resource in watched
        for verb in ("list", "watch")
    }
    permissions.add(Permission(namespace, "", "pods/log", "get"))
    permissions |= {Permission(namespace, *kind, "list") for kind in READERS_ALONE}
    permissions.add(Permission(namespace, "", "pods", "delete"))  # broken ones that block a rollout
    permissions |= {
        Permission(namespace, "coordination.k8s.io", "leases", verb) for verb in VERBS_OF_THE_LOCK
    }
    permissions |= {Permission(namespace, "", "configmaps", verb) for verb in VERBS_OF_HISTORY}
    return sorted(permissions)


def to_watch(places: Iterable[tuple[Kind, str]]) -> list[Permission]:
    """The permissions to wait for workloads: to watch each kind in its namespace, and to handle pods."""
    found: set[Permission] = set()
    for kind, namespace in places:
        where = namespace if kind.namespaced else ""
        found |= {Permission(where, kind.group, kind.plural, verb) for verb in ("list", "watch")}
        if kind.kind == "Pod":
            found |= {Permission(where, "", "pods/log", "get"), Permission(where, "", "pods", "delete")}
    return sorted(found)


def to_read(kinds: Iterable[tuple[Kind, str]]) -> list[Permission]:
    """The permissions to read objects by name, sorted."""
    return sorted(
        {
            Permission(where if kind.namespaced else "", kind.group, kind.plural, "get")
            for kind, where in kinds
        }
    )


def to_remove(kinds: Iterable[tuple[Kind, str]]) -> list[Permission]:
    """The permissions to list and delete objects that are no longer applied, sorted."""
    return sorted(
        Permission(where if kind.namespaced else "", kind.group, kind.plural, verb)
        for kind, where in kinds
        for verb in ("get", "list", "delete")
    )


def granted_by(roles: Iterable[Json]) -> list[Permission]:
    """The permissions in rendered roles: RBAC refuses a role that grants more than its creator has."""
    return sorted(
        Permission(role["metadata"].get("namespace", ""), group, resource, verb)
        for role in roles
        if role["kind"] in {"Role", "ClusterRole"} and role["apiVersion"].startswith(f"{RBAC}/")
        for rule in role.get("rules") or []
        for group in rule.get("apiGroups") or []
        for resource in rule.get("resources") or []
        for verb in rule.get("verbs") or []
    )


def missing(api: Api, wanted: Sequence[Permission]) -> list[Permission]:
    """Those of `wanted` that the cluster does not grant.

    The rules of a namespace are read with one request.  What they do not grant may still be granted by other
    means than roles, so it is checked one by one, several at a time.
    """
    count = Counter(permission.namespace for permission in wanted if permission.namespace)
    many = [namespace for namespace, number in count.items() if number > FEW]
    rules = dict(zip(many, side_by_side(partial(_rules, api), many, CONNECTIONS), strict=True))
    asked = [one for one in wanted if not any(grants(rule, one) for rule in rules.get(one.namespace, ()))]
    granted = side_by_side(partial(_granted, api), asked, CONNECTIONS)
    return [permission for permission, allowed in zip(asked, granted, strict=True) if not allowed]


def grants(rule: Mapping[str, Sequence[str]], permission: Permission) -> bool:
    """Whether a rule of RBAC grants the permission; a rule for named objects does not."""
    _, slash, part = permission.resource.partition("/")
    resources = {"*", permission.resource, *([f"*/{part}"] if slash else [])}
    return (
        not rule.get("resourceNames")
        and not resources.isdisjoint(rule.get("resources") or ())
        and not {"*", permission.group}.isdisjoint(rule.get("apiGroups") or ())
        and not {"*", permission.verb}.isdisjoint(rule.get("verbs") or ())
    )


def require(api: Api, wanted: Sequence[Permission]) -> None:
    """Check that all of `wanted` is granted.

    Raises Failure where some are missing; the message lists them, and the account that the cluster sees.
    """
    if lacking := missing(api, wanted):
        user = known_as(api)
        ask = "Ask a cluster administrator for them; docs/deploy.md shows a role that has them."
        raise Failure(
            f"The cluster does not grant {len(lacking)} of the {len(wanted)} permissions a deploy needs.",
            "\n".join([
                *([f"The cluster sees this account as {user}."] if user else []),
                *(f"missing: {permission}" for permission in lacking),
            ]),
            BY_NUMBER if user.isdigit() else ask,
        )  # fmt: skip


def known_as(api: Api) -> str:
    """The name of our account in the cluster; empty where the cluster does not say."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    try:
        answer = api.request("POST", path, doing="say who we are", body=review)
    except ApiError:
        return ""
    return str(answer.get("status", {}).get("userInfo", {}).get("username", ""))


def roles(permissions: Iterable[Permission], account: str, name: str = ROLE) -> list[Json]:
    """A role per namespace and one for the whole cluster, called `name` and bound to the user `account`."""
    by_namespace: dict[str, list[Permission]] = defaultdict(list)
    for permission in permissions:
        by_namespace[permission.namespace].append(permission)
    return [
        thing
        for namespace in sorted(by_namespace)
        for thing in _pair(namespace, by_namespace[namespace], account, name)
    ]


def _pair(namespace: str, permissions: list[Permission], account: str, name: str) -> tuple[Json, Json]:
    scope = "" if namespace else "Cluster"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    version = f"{RBAC}/v1"
    rules = _role_rules(permissions)
    role = {"apiVersion": version, "kind": f"{scope}Role", "metadata": metadata, "rules": rules}
    binding = {
        "apiVersion": version,
        "kind": f"{scope}RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": f"{scope}Role", "name": name},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": account}],
    }
    return role, binding


def _role_rules(permissions: list[Permission]) -> list[Json]:
    """One rule for all resources of a group with the same verbs."""
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


def _rules(api: Api, namespace: str) -> list[Json]:
    """The rules that apply to us in a namespace; none where the cluster does not say."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    try:
        answer = api.request("POST", path, doing=f"say what we may in {namespace}", body=review)
    except ApiError:
        return []
    return answer["status"].get("resourceRules") or []


def _granted(api: Api, permission: Permission) -> bool:
    answer = api.request(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        doing=f"say whether we may {permission}", body=permission.review(),
    )  # fmt: skip
    return bool(answer["status"]["allowed"])
