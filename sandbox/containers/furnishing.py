"""What a real node gets once its servers run: the way to the API server, images, and a database."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

from sandbox.cloud.sql import Login
from sandbox.containers import cloud_sql, containerd, programs, services
from sandbox.containers.equipment import Node
from sandbox.containers.place import LABEL, NODE, REAL
from sandbox.controlplane import port_name
from sandbox.images import archive, making
from sandbox.images.archive import Image
from sandbox.node.api import Api
from tasks.lib import signals
from tasks.lib.errors import TimedOut

LOOK_AGAIN = 0.2
# The annotation of a namespace that says, as labels of nodes, where its pods run.
NODE_SELECTOR = "scheduler.alpha.kubernetes.io/node-selector"


def furnish(node: Node, time_limit: float) -> None:
    """Lead pods to the API server, give the node its images, and wait until it is Ready.

    Raises:
        TimedOut: it is not Ready in time.

    """
    api = Api(node.cluster.url, node.cluster.folder)
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    endpoint = services.endpoint(node.place)
    api.create(slices, endpoint)
    api.patch(f"{slices}/kubernetes", endpoint)
    images = [
        _of_program(node, "pause", containerd.PAUSE_IMAGE, "65535:65535"),
        _of_program(node, "cloud-sql-proxy", programs.proxy_image(), "65532:65532"),
    ]
    containerd.import_images(node.place, node.equipment.tools, [*images, *node.equipment.images])
    what, log = f"The real node of {node.cluster.name}", port_name(node.cluster.name, "node-kubelet")
    _await_ready(what, lambda: not_ready(_look(api, f"/api/v1/nodes/{NODE}")), log, time_limit)


def start_database(node: Node, login: Login, time_limit: float) -> None:
    """Run PostgreSQL in place of the environment's Cloud SQL instance, and wait until it is ready.

    Raises:
        TimedOut: it is not ready in time.

    """
    api = Api(node.cluster.url, node.cluster.folder)
    run_here(node, cloud_sql.SPACE)
    space = f"/api/v1/namespaces/{cloud_sql.SPACE}"
    what, log = f"The database of {node.cluster.name}", port_name(node.cluster.name, "node-kubelet")
    account = f"{space}/serviceaccounts/default"
    _await_ready(what, lambda: "" if api.get(account) else "Its namespace is new.", log, time_limit)
    api.create(f"{space}/pods", cloud_sql.pod(login, node.place.file("database")))
    pod = f"{space}/pods/{cloud_sql.NAME}"
    _await_ready(what, lambda: not_ready(_look(api, pod)), log, time_limit)


def run_here(node: Node, namespace: str) -> None:
    """Have new pods of a namespace run on the real node."""
    api = Api(node.cluster.url, node.cluster.folder)
    annotations = {NODE_SELECTOR: f"{LABEL}={REAL}"}
    space = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "annotations": annotations},
    }
    api.create("/api/v1/namespaces", space)
    api.patch(f"/api/v1/namespaces/{namespace}", space)


def _of_program(node: Node, name: str, image: str, user: str) -> Image:
    """An image that has nothing but one of the node's programs."""
    folder = making.folder() / "programs"
    return archive.of_program(node.equipment.programs[name], (image,), folder, {"User": user})


def _await_ready(what: str, problem: Callable[[], str], log: str, time_limit: float) -> None:
    deadline = time.monotonic() + time_limit
    while message := problem():
        if time.monotonic() > deadline:
            raise TimedOut(f"{what} is not Ready.", message, f"./inv sandbox.logs {log}")
        signals.sleep(LOOK_AGAIN)


def _look(api: Api, path: str) -> Mapping[str, Any] | None:
    try:
        return api.get(path)
    except requests.RequestException as error:
        return {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "message": str(error)}]}}


def not_ready(found: Mapping[str, Any] | None) -> str:
    """Why a node or a pod is not Ready; empty when it is."""
    if found is None:
        return "The API server does not know it."
    conditions = found.get("status", {}).get("conditions", [])
    ready = next((one for one in conditions if one["type"] == "Ready"), None)
    if ready and ready["status"] == "True":
        return ""
    return str(ready.get("message")) if ready else "It has not said how it is."
