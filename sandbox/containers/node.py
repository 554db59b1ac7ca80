"""A real node of a cluster: its servers, their configuration, and what is to be cleared away after them."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import yaml

from sandbox import certificates, ports, storage
from sandbox.certificates import Pair
from sandbox.cloud import sql_connect
from sandbox.components import CLOUD, STORAGE, Component, Probe
from sandbox.containers import cgroups, checks, cloud_sql, containerd, kubelet, namespaces, place, services
from sandbox.containers.equipment import Equipment, Node
from sandbox.containers.place import API_PORT, GOOGLE, HEALTH_PORT, LABEL, NODE, SIMULATED, Forward, Place
from sandbox.controlplane import Cluster, port_name
from sandbox.state import State
from tasks.lib.files import write_atomically

if TYPE_CHECKING:
    from tasks.lib.settings.model import Database

HTTPS = 443
FOLDERS = ("cni", "disks", "tmp")
FOR_CONTAINERS = ("resolv.conf", "trusted.crt")


def has_one(here: State, cluster: str) -> bool:
    """Whether the cluster was brought up with a real node."""
    return place.folder_of(here.cluster(cluster)).exists()


def add(here: State, cluster: Cluster, equipment: Equipment, database: "Database") -> Node:
    """Write the files of a real node; its cluster then lets pods run on it.

    The Cloud SQL Admin API then says that the environment's `database` is there.
    """
    name, objects = (port_name(cluster.name, one) for one in ("node", "node-storage"))
    folder = place.folder_of(cluster.folder)
    given = ports.assign(here, [name, objects])
    bare = Place(folder, given[name])
    hosts = ("127.0.0.1", *sum(GOOGLE.values(), ()))
    to_google = certificates.issue(cluster.authority, "google-names", "google", hosts=hosts)
    server = storage.for_pods(here, objects, given[objects], to_google, cluster.authority.certificate)
    pair = (str(to_google.certificate), str(to_google.key))
    forwards = (
        Forward(bare.address, API_PORT, cluster.ports["apiserver"]),
        Forward(bare.address, HEALTH_PORT, given[CLOUD]),
        Forward(bare.google(STORAGE), HTTPS, given[objects]),
        Forward(bare.google(CLOUD), HTTPS, given[CLOUD], *pair),
    )
    beside = replace(cluster, admission=folder / "admission.yaml")
    front = _front(here, bare, database) if database.instance else None
    node = Node(beside, replace(bare, forwards=forwards, database=front), equipment, server)
    _write(node)
    return node


def _front(here: State, at: Place, database: "Database") -> Forward:
    """The way to a Cloud SQL instance at the node's address for it."""
    known = (here.google, database.project, database.name)
    sql_connect.place(*known, database.region, at.instance)
    front = sql_connect.front(*known)
    files = (front.server.certificate, front.server.key, front.clients.certificate)
    return Forward(at.instance, sql_connect.PORT, cloud_sql.DATABASE_PORT, *map(str, files))


def components(node: Node) -> list[Component]:
    """The servers of a real node in the order that they need each other."""
    return [
        node.storage,
        _namespaces(node),
        containerd.component(node),
        kubelet.component(node),
        services.proxy(node),
        services.dns(node),
        *([cloud_sql.component(node)] if node.place.database else ()),
    ]


def _namespaces(node: Node) -> Component:
    """The node's namespaces as a server of the sandbox: it is healthy when connections are led on."""
    command = (sys.executable, "-m", "sandbox.containers.namespaces", str(node.place.folder))
    return Component(
        port_name(node.cluster.name, "node"),
        command,
        # A bare connection says nothing: without the link it may end anywhere.
        Probe(f"http://{node.place.address}:{HEALTH_PORT}/healthz"),
        HEALTH_PORT,
        (port_name(node.cluster.name, "apiserver"), CLOUD),
        node.equipment.tools.environment,
    )


def _write(node: Node) -> None:
    for folder in FOLDERS:
        node.place.file(folder).mkdir(parents=True, exist_ok=True)
    node.place.write()
    for name, text in _files(node).items():
        mode = 0o644 if name in FOR_CONTAINERS else 0o600
        write_atomically(node.place.file(name), text.encode(), mode=mode)


def _files(node: Node) -> dict[str, str]:
    """The configuration of all servers, by name of file."""
    at, cluster = node.place, node.cluster
    issue = partial(certificates.issue, cluster.authority)
    own = issue(f"kubelet-{at.number}", f"system:node:{NODE}", "system:nodes", (NODE, at.address))
    proxy = issue("kube-proxy", "system:kube-proxy", hosts=("kube-proxy",))
    may_lower = checks.look(at.folder).has(checks.SYS_RESOURCE)
    return {
        "kubelet.kubeconfig": _yaml(kubeconfig(node, own)),
        "kube-proxy.kubeconfig": _yaml(kubeconfig(node, proxy)),
        "dns.kubeconfig": _yaml(kubeconfig(node, cluster.admin)),
        "kubelet.yaml": _yaml(kubelet.configuration(node, own)),
        "kube-proxy.yaml": _yaml(services.proxy_configuration(at)),
        "Corefile": services.corefile(at, google_names(at)),
        "containerd.toml": containerd.configuration(node, may_lower_oom_score=may_lower),
        "base-container.json": json.dumps(containerd.base_container(at, node.equipment.container)),
        "trusted.crt": cluster.authority.certificate.read_text(),
        "cni/10-pods.conflist": containerd.pod_network(),
        "resolv.conf": f"nameserver {at.address}\n",
        "admission.yaml": _yaml(admission()),
    }


def google_names(at: Place) -> dict[str, str]:
    """The address in the node of each of Google's names."""
    return {name: at.google(component) for component, names in GOOGLE.items() for name in names}


def kubeconfig(node: Node, user: Pair) -> dict[str, object]:
    """The way from the node to the API server, whose certificate does not name the node's address."""
    cluster = node.cluster
    server = {
        "server": f"https://{node.place.address}:{API_PORT}",
        "tls-server-name": "kubernetes.default.svc",
        "certificate-authority": str(cluster.authority.certificate),
    }
    pair = {"client-certificate": str(user.certificate), "client-key": str(user.key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster.name, "cluster": server}],
        "users": [{"name": "node", "user": pair}],
        "contexts": [{"name": "node", "context": {"cluster": cluster.name, "user": "node"}}],
        "current-context": "node",
    }


def admission() -> dict[str, object]:
    """Where pods run whose namespace does not say so: on simulated nodes."""
    selectors = {"clusterDefaultNodeSelector": f"{LABEL}={SIMULATED}"}
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodNodeSelector", "configuration": {"podNodeSelectorPluginConfig": selectors}}],
    }


def _yaml(document: Mapping[str, object]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def clear(here: State) -> None:
    """Remove links and control groups of real nodes, whose processes have all been ended.

    Raises:
        Failure: a control group cannot be removed.

    """
    for written in here.clusters.glob("*/node/place.json"):
        node = place.read(written.parent)
        subprocess.run(namespaces.unlink(node), check=False, capture_output=True)
        cgroups.remove(node.group)
