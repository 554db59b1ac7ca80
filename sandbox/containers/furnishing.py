"""What a real node gets once its servers run: the way to the API server, and images."""

import time
from collections.abc import Mapping
from typing import Any

import requests

from sandbox.containers import containerd, services
from sandbox.containers.equipment import Node
from sandbox.containers.place import LABEL, NODE, REAL
from sandbox.controlplane import port_name
from sandbox.images import archive, making
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
    pause, nobody = node.equipment.programs["pause"], {"User": "65535:65535"}
    image = archive.of_program(pause, (containerd.PAUSE_IMAGE,), making.folder() / "programs", nobody)
    containerd.import_images(node.place, node.equipment.tools, [image, *node.equipment.images])
    _await_ready(node.cluster.name, api, time_limit)


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


def _await_ready(cluster: str, api: Api, time_limit: float) -> None:
    deadline = time.monotonic() + time_limit
    while message := not_ready(_look(api)):
        if time.monotonic() > deadline:
            log = port_name(cluster, "node-kubelet")
            raise TimedOut(f"The real node of {cluster} is not Ready.", message, f"./inv sandbox.logs {log}")
        signals.sleep(LOOK_AGAIN)


def _look(api: Api) -> Mapping[str, Any] | None:
    try:
        return api.get(f"/api/v1/nodes/{NODE}")
    except requests.RequestException as error:
        return {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "message": str(error)}]}}


def not_ready(node: Mapping[str, Any] | None) -> str:
    """Why a node is not Ready; empty when it is."""
    if node is None:
        return "It has not registered with the API server."
    conditions = node.get("status", {}).get("conditions", [])
    ready = next((one for one in conditions if one["type"] == "Ready"), None)
    if ready and ready["status"] == "True":
        return ""
    return str(ready.get("message")) if ready else "It has not said how it is."
