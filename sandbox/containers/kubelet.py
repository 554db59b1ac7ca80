"""The kubelet of a real node."""

from typing import Any

from sandbox.certificates import Pair
from sandbox.components import Component
from sandbox.containers import containerd
from sandbox.containers.equipment import Node
from sandbox.containers.place import KUBELET, LABEL, NODE, REAL

PORT = 10250
HEALTH_PORT = 10248
LABELS = {
    LABEL: REAL,
    "topology.kubernetes.io/region": "us-east1",
    "topology.kubernetes.io/zone": "us-east1-d",
}


def configuration(node: Node, own: Pair) -> dict[str, Any]:
    """A kubelet that is content with what this machine has, and that only the API server may call.

    `own` is the certificate that it shows to that.
    """
    place = node.place
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": place.address,
        "port": PORT,
        "healthzBindAddress": place.address,
        "healthzPort": HEALTH_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(node.cluster.authority.certificate)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": str(own.certificate),
        "tlsPrivateKeyFile": str(own.key),
        "containerRuntimeEndpoint": f"unix://{containerd.SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [place.address],
        "clusterDomain": "cluster.local",
        "resolvConf": str(place.file("resolv.conf")),
        "volumePluginDir": str(place.file("volume-plugins")),
        # A machine that is nearly full must not evict Lookit's pods.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def component(node: Node) -> Component:
    """The server of the sandbox that is the kubelet."""
    place = node.place
    labels = ",".join(f"{name}={value}" for name, value in LABELS.items())
    command = (
        str(node.equipment.programs["kubelet"]),
        f"--config={place.file('kubelet.yaml')}",
        f"--kubeconfig={place.file('kubelet.kubeconfig')}",
        f"--root-dir={KUBELET}",
        f"--cert-dir={place.file('kubelet-certificates')}",
        f"--hostname-override={NODE}",
        f"--node-ip={place.address}",
        f"--node-labels={labels}",
    )
    return node.server(
        "kubelet", command, f"{HEALTH_PORT}/healthz", PORT, ["node", "node-containerd", "apiserver"]
    )
