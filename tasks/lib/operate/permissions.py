"""What each task of this package asks of the cluster: the role `operator`, for who does not deploy.

A deployer may all of it but `app.exec` and `database.connect`.  Tests run each task as an account that has
only this, and compare what was asked.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tasks.lib.cluster.api import Api
from tasks.lib.cluster.rbac import OPERATOR, VERBS_OF_THE_LOCK, Permission, missing
from tasks.lib.errors import Failure

# By API group and resource, the verbs; of "*" in the whole cluster.
Verbs = Mapping[tuple[str, str], tuple[str, ...]]
LIST: Final = ("list",)
WATCH: Final = ("list", "watch")
# The cluster's mark, the names of workloads, and the values to mask.
ALWAYS: Final[Verbs] = {
    ("", "configmaps"): ("get",),
    ("", "secrets"): LIST,
    ("apps", "deployments"): LIST,
    ("apps", "statefulsets"): LIST,
}
STATUS: Final[Verbs] = {
    ("", "configmaps"): ("get", "list"),
    ("", "events"): LIST,
    ("", "persistentvolumeclaims"): LIST,
    ("", "pods"): LIST,
    ("", "secrets"): LIST,
    ("", "serviceaccounts"): LIST,
    ("", "services"): LIST,
    ("apps", "deployments"): LIST,
    ("apps", "replicasets"): LIST,
    ("apps", "statefulsets"): LIST,
    ("batch", "jobs"): LIST,
    ("coordination.k8s.io", "leases"): ("get",),
    ("networking.k8s.io", "ingresses"): LIST,
    ("rbac.authorization.k8s.io", "rolebindings"): LIST,
    ("rbac.authorization.k8s.io", "roles"): LIST,
}
# What the release has in the whole cluster.
STATUS_IN_THE_CLUSTER: Final[Verbs] = {
    ("cert-manager.io", "clusterissuers"): LIST,
    ("storage.k8s.io", "storageclasses"): LIST,
}
RESTART: Final[Verbs] = {
    **ALWAYS,
    ("", "events"): WATCH,
    ("", "persistentvolumeclaims"): WATCH,
    ("", "pods"): (*WATCH, "delete"),  # broken ones of an earlier state hold a StatefulSet up
    ("", "pods/log"): ("get",),
    ("apps", "deployments"): (*WATCH, "patch"),
    ("apps", "replicasets"): WATCH,
    ("apps", "statefulsets"): (*WATCH, "patch"),
    ("coordination.k8s.io", "leases"): VERBS_OF_THE_LOCK,
}
LOGS: Final[Verbs] = {**ALWAYS, ("", "pods"): WATCH, ("", "pods/log"): ("get",)}
RUN: Final[Verbs] = {
    **ALWAYS,
    ("", "configmaps"): ("get", "create", "patch"),
    ("", "events"): LIST,
    ("", "pods"): LIST,
    ("", "pods/log"): ("get",),
    ("batch", "jobs"): ("create", "delete", "list"),
}
# What kubectl itself asks: by GET over a WebSocket, by POST where a proxy does not let that through.
KUBECTL_EXEC: Final[Verbs] = {("", "pods"): ("get",), ("", "pods/exec"): ("create", "get")}
EXEC: Final[Verbs] = {**ALWAYS, **KUBECTL_EXEC, ("", "pods"): ("get", "list")}
KUBECTL_PORT_FORWARD: Final[Verbs] = {("", "pods"): ("get",), ("", "pods/portforward"): ("create", "get")}
CONNECT: Final[Verbs] = {
    **KUBECTL_PORT_FORWARD,
    ("", "configmaps"): ("get",),
    ("", "pods"): ("get", "list"),
    ("", "services"): LIST,
}
MAINTENANCE: Final[Verbs] = {
    **RESTART,
    ("", "configmaps"): ("get", "list", "create", "patch", "delete"),
    ("", "services"): ("list", "patch"),
    ("apps", "deployments"): (*WATCH, "create", "patch", "delete"),
}
TASKS: Final[Mapping[str, Verbs]] = {
    "status": STATUS,
    "app.restart": RESTART,
    "app.logs": LOGS,
    "app.run": RUN,
    "app.exec": EXEC,
    "database.connect": CONNECT,
    "database.restore": RESTART,  # it stops and starts the application
    "database.start": RESTART,
    "app.maintenance": MAINTENANCE,
}


def of_task(task: str, namespace: str) -> list[Permission]:
    """What one task needs, sorted."""
    in_cluster = STATUS_IN_THE_CLUSTER if task == "status" else {}
    return sorted([*_permissions(TASKS[task], namespace), *_permissions(in_cluster, "")])


def of_an_operator(namespace: str) -> list[Permission]:
    """What all tasks need together, sorted."""
    return sorted({one for task in TASKS for one in of_task(task, namespace)})


def of_kubectl_exec(namespace: str) -> list[Permission]:
    """What kubectl needs to run a command in a pod, sorted."""
    return sorted(_permissions(KUBECTL_EXEC, namespace))


def of_kubectl_port_forward(namespace: str) -> list[Permission]:
    """What kubectl needs to forward a port to a pod, sorted."""
    return sorted(_permissions(KUBECTL_PORT_FORWARD, namespace))


def _permissions(verbs: Verbs, namespace: str) -> list[Permission]:
    return [
        Permission(namespace, group, resource, verb)
        for (group, resource), named in verbs.items()
        for verb in named
    ]


def require(api: Api, needed: Sequence[Permission], doing: str) -> None:
    """Check that these are permitted; `doing` says what they are for.

    Raises:
        Failure: one is missing; the message has its verb, and the role that has it.

    """
    if lacking := missing(api, needed):
        raise Failure(
            f"Missing permission to {doing}.",
            "\n".join(f"missing: {one}" for one in lacking),
            f"Ask a cluster administrator for the role {OPERATOR}: docs/deployer-role.yaml has it.",
        )
