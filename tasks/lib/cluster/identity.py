"""A mark in the cluster that says whose it is, so that settings which point elsewhere are caught.

The first deploy writes a ConfigMap into the environment's namespace; each later one compares it.
"""

from typing import TYPE_CHECKING, Final

from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.refusal import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.lib.settings.model import Environment

NAME: Final = "lookit-orchestrator"


def mark(environment: "Environment") -> Json:
    """The ConfigMap that names the environment."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": environment.namespace},
        "data": expected(environment),
    }


def expected(environment: "Environment") -> dict[str, str]:
    """What the mark of this environment says."""
    return {
        "environment": environment.name,
        "project": environment.project,
        "location": environment.zone,
        "cluster": environment.cluster,
    }


def compare(environment: "Environment", found: "Mapping[str, str]") -> None:
    """Check the mark's data.

    Raises:
        Failure: it names another environment or cluster.

    """
    wanted = expected(environment)
    if dict(found) != wanted:
        source = f"ConfigMap {environment.namespace}/{NAME}"
        raise gke.wrong_cluster(environment, _spelled(wanted), _spelled(found), source)


def check(api: Api, environment: "Environment") -> bool:
    """Compare the mark in the cluster with the environment; returns whether there is one yet.

    Raises:
        Failure: the mark names another environment or cluster.
        ApiError: it cannot be read.

    """
    path = f"/api/v1/namespaces/{environment.namespace}/configmaps/{NAME}"
    try:
        found = api.get(path, doing=f"read ConfigMap {NAME}")
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    compare(environment, found.get("data") or {})
    return True


def write(api: Api, environment: "Environment") -> None:
    """Leave the mark."""
    path = f"/api/v1/namespaces/{environment.namespace}/configmaps/{NAME}"
    api.apply(path, mark(environment), doing=f"write ConfigMap {NAME}")


def _spelled(data: "Mapping[str, str]") -> str:
    return ", ".join(f"{key} {value}" for key, value in data.items()) or "an empty mark"
