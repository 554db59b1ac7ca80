"""The kinds that a cluster serves, and the paths of their objects."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from tasks.lib import signals
from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.errors import Failure

PAUSE: Final = 0.1
# One document for all groups; older servers serve it as v2beta1.
AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
)


@dataclass(frozen=True)
class Kind:
    """A kind that the server serves.

    Args:
        api_version: `v1` or `apps/v1`.
        plural: `deployments`, as in a path.

    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group; empty for the core one."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of the collection, or of the object `name` in it."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{within}/{self.plural}" + (f"/{name}" if name else "")


Kinds = Mapping[tuple[str, str], Kind]


def listed(api: Api, kind: Kind, namespace: str, query: Mapping[str, str] | None = None) -> list[Json]:
    """All objects of a kind in a namespace, each with the kind, which a list leaves out."""
    items, _ = api.list(kind.path(namespace), doing=f"list {kind.plural}", query=query)
    return [{**item, "apiVersion": kind.api_version, "kind": kind.kind} for item in items]


def discover(api: Api) -> Kinds:
    """Every kind that the server serves, by `(apiVersion, kind)`: two requests at the same time."""

    def read(root: str) -> list[Kind]:
        return parse(api.request("GET", root, doing="list the kinds it knows", accept=AGGREGATED))

    roots = ("/api", "/apis")
    return {
        (one.api_version, one.kind): one for found in side_by_side(read, roots, len(roots)) for one in found
    }


def discover_with(api: Api, brought: Collection[tuple[str, str]]) -> Kinds:
    """The same, after waiting for kinds that were just defined: the server takes a moment to list them."""
    deadline = time.monotonic() + api.patience.total
    while True:
        found = discover(api)
        if found.keys() >= set(brought) or time.monotonic() > deadline:
            return found
        signals.sleep(PAUSE)


def parse(document: Json) -> list[Kind]:
    """Read an APIGroupDiscoveryList.

    Raises Failure where the server is too old for it.
    """
    if document.get("kind") != "APIGroupDiscoveryList":
        raise Failure(
            "The cluster does not list its kinds in one document.",
            f"It answered with {document.get('kind')}; Kubernetes lists them since version 1.27.",
            "Upgrade the cluster's control plane.",
        )
    found = []
    for group in document["items"]:
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            found += [
                Kind(api_version, r["responseKind"]["kind"], r["resource"], r["scope"] == "Namespaced")
                for r in version.get("resources", [])
                if r.get("responseKind", {}).get("kind")
            ]
    return found
