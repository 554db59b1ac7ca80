"""What running servers get before Lookit can be deployed: cluster objects and buckets."""

import json
import urllib.error
import urllib.request
from typing import Any

from sandbox.controlplane import Cluster
from sandbox.kms.access import DEPLOYER
from sandbox.preparing import FILES
from tasks.lib.background import call
from tasks.lib.errors import Failure
from tasks.lib.process import run

APPLY_TIME_LIMIT = 60.0


def apply_argv(kubectl: str, cluster: Cluster) -> tuple[str, ...]:
    """The command that brings sandbox/cluster/*.yaml, and what stdin adds, into a cluster."""
    return (
        kubectl, f"--kubeconfig={cluster.kubeconfig}", f"--cache-dir={cluster.folder / 'kubectl-cache'}",
        "apply", "--server-side", "--force-conflicts", "--field-manager=sandbox",
        f"--filename={FILES / 'cluster'}",
    )  # fmt: skip


def deployer_binding(user: str = DEPLOYER) -> dict[str, Any]:
    """The object that makes `user` administrator of a cluster, as an owner of a GKE project is."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "sandbox-deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def furnish(kubectl: str, cluster: Cluster) -> None:
    """Create nodes, storage classes, resource types and the deployer's rights where they are missing."""
    run(apply_argv(kubectl, cluster), time_limit=APPLY_TIME_LIMIT)
    binding = json.dumps(deployer_binding()).encode()
    from_stdin = (*apply_argv(kubectl, cluster)[:-1], "--filename=-")
    run(from_stdin, time_limit=APPLY_TIME_LIMIT, stdin=binding)


def create_bucket(storage: str, project: str, name: str) -> None:
    """Create a bucket of `project` at the URL `storage`; one that exists is left as it is."""
    request = urllib.request.Request(  # noqa: S310 - the sandbox's own server
        f"{storage}/storage/v1/b?project={project}",
        data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        call(urllib.request.urlopen, request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            what = f"The sandbox's bucket {name} could not be created."
            raise Failure(what, error.read().decode()) from error
