"""The environment's namespace, where a first deploy finds none: it is shown in the plan, then created."""

from typing import TYPE_CHECKING

from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Api
from tasks.lib.cluster.errors import ApiError
from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment

COLLECTION = "/api/v1/namespaces"


class NoNamespace(Failure):
    """The environment's namespace does not exist."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"The namespace {name} does not exist.", why, f"Create it once: kubectl create namespace {name}"
        )


def is_missing(api: Api, environment: "Environment") -> bool:
    """Whether the namespace is not there; asked by a dry run, because few deployers may read namespaces."""
    path = f"{COLLECTION}/{environment.namespace}/configmaps/{gke.MARK}"
    try:
        api.apply(path, gke.mark(environment), doing="look for the namespace", query={"dryRun": "All"})
    except ApiError as error:
        return error.status == 404
    return False


def create(api: Api, name: str) -> None:
    """Create a namespace; one that exists already is fine.

    Raises:
        NoNamespace: we may not.

    """
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    try:
        api.request("POST", COLLECTION, doing=f"create Namespace {name}", body=body)
    except ApiError as error:
        if error.status == 403:
            raise NoNamespace(name, error.message) from error
        if error.status != 409:
            raise
