"""One Kubernetes cluster of the sandbox as components: real servers, with kwok in place of the kubelets."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.certificates import Pair
from sandbox.components import Component, Probe

# What a cluster listens on, apart from etcd's port for its peers.
SERVICES = ("etcd", "etcd-peer", "apiserver", "controller-manager", "scheduler", "kwok", "kubelet")
# Above etcd's own default of 2 GiB nothing is needed here; tests of a full etcd set a small one.
ETCD_QUOTA = 2 * 1024**3


@dataclass(frozen=True)
class Cluster:
    """What the servers of one cluster need to know."""

    name: str  # of the GKE cluster that this one stands for
    folder: Path  # certificates, configuration and data
    binaries: Mapping[str, Path]  # the program of each server, by name
    ports: Mapping[str, int]  # of each of SERVICES
    authority: Pair
    server: Pair
    admin: Pair
    etcd_quota: int = ETCD_QUOTA  # bytes after which etcd refuses writes
    # Which nodes pods go to; with a real node beside the simulated ones.
    admission: Path | None = None

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.ports['apiserver']}"

    @property
    def kubeconfig(self) -> Path:
        """The sandbox's own way in, as cluster administrator; deploys never use it."""
        return self.folder / "admin.kubeconfig"


def port_name(cluster: str, service: str) -> str:
    """The key of a cluster's service in the ports file."""
    return f"{cluster}.{service}"


def components(cluster: Cluster) -> list[Component]:
    """The servers of `cluster` in the order that they need each other."""
    return [etcd(cluster), apiserver(cluster), controller_manager(cluster), scheduler(cluster),
            kwok(cluster), kubelet(cluster)]  # fmt: skip


def etcd(cluster: Cluster) -> Component:
    """The store. It does not sync its files: a sandbox that lost power is created again."""
    client, peer = (f"http://127.0.0.1:{cluster.ports[name]}" for name in ("etcd", "etcd-peer"))
    argv = (
        str(cluster.binaries["etcd"]),
        "--name=sandbox",
        f"--data-dir={cluster.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=sandbox={peer}",
        f"--quota-backend-bytes={cluster.etcd_quota}",
        "--auto-compaction-retention=5m",
        "--unsafe-no-fsync=true",
        "--log-level=warn",
    )
    return Component(f"{cluster.name}.etcd", argv, Probe(f"{client}/livez"), cluster.ports["etcd"])


def apiserver(cluster: Cluster) -> Component:
    """The API server. The sandbox's Google side reviews bearer tokens, as Google does for GKE."""
    folder = cluster.folder
    argv = (
        str(cluster.binaries["kube-apiserver"]),
        f"--etcd-servers=http://127.0.0.1:{cluster.ports['etcd']}",
        "--bind-address=127.0.0.1",
        # Never dialled: without one the server looks for a default route, which a closed machine has not.
        "--advertise-address=192.0.2.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={cluster.ports['apiserver']}",
        f"--tls-cert-file={cluster.server.certificate}",
        f"--tls-private-key-file={cluster.server.key}",
        f"--client-ca-file={cluster.authority.certificate}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={folder / 'service-accounts.key'}",
        f"--service-account-signing-key-file={folder / 'service-accounts.key'}",
        f"--authentication-token-webhook-config-file={folder / 'token-review.kubeconfig'}",
        "--authentication-token-webhook-version=v1",
        "--authentication-token-webhook-cache-ttl=10s",
        f"--kubelet-client-certificate={cluster.admin.certificate}",
        f"--kubelet-client-key={cluster.admin.key}",
        f"--kubelet-certificate-authority={cluster.authority.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
        *_node_selection(cluster),
    )
    probe = Probe(f"{cluster.url}/readyz", str(cluster.authority.certificate))
    return Component(
        f"{cluster.name}.apiserver", argv, probe, cluster.ports["apiserver"], (f"{cluster.name}.etcd",)
    )


def _node_selection(cluster: Cluster) -> Sequence[str]:
    """The flags that let a pod's namespace say which nodes it may run on."""
    if not cluster.admission:
        return ()
    return (
        "--enable-admission-plugins=PodNodeSelector",
        f"--admission-control-config-file={cluster.admission}",
    )


def controller_manager(cluster: Cluster) -> Component:
    """The controllers, with high request limits: a rehearsal should not wait for those."""
    argv = (
        str(cluster.binaries["kube-controller-manager"]),
        *_shared_flags(cluster, "controller-manager"),
        f"--root-ca-file={cluster.authority.certificate}",
        f"--service-account-private-key-file={cluster.folder / 'service-accounts.key'}",
        "--node-monitor-grace-period=200s",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    )
    return _needs_apiserver(cluster, "controller-manager", argv)


def scheduler(cluster: Cluster) -> Component:
    """The scheduler."""
    argv = (
        str(cluster.binaries["kube-scheduler"]),
        *_shared_flags(cluster, "scheduler"),
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    )
    return _needs_apiserver(cluster, "scheduler", argv)


def kwok(cluster: Cluster) -> Component:
    """The nodes: pods pass through the stages of sandbox/stages instead of running."""
    port = cluster.ports["kwok"]
    nodes = (
        ("--manage-all-nodes=false", "--manage-nodes-with-label-selector=sandbox.lookit.org/node=simulated")
        if cluster.admission
        else ("--manage-all-nodes=true",)
    )
    argv = (
        str(cluster.binaries["kwok"]),
        f"--config={cluster.folder / 'kwok.yaml'}",
        f"--kubeconfig={cluster.kubeconfig}",
        *nodes,
        "--node-ip=127.0.0.1",
        f"--node-port={cluster.ports['kubelet']}",
        "--node-lease-duration-seconds=200",
        f"--server-address=127.0.0.1:{port}",
    )
    return _needs_apiserver(cluster, "kwok", argv, Probe(f"http://127.0.0.1:{port}/healthz"))


def kubelet(cluster: Cluster) -> Component:
    """What kwok leaves out of a cluster (sandbox/node)."""
    port = cluster.ports["kubelet"]
    options = (f"--cluster={cluster.folder}", f"--port={port}", f"--url={cluster.url}")
    argv = (sys.executable, "-m", "sandbox.node", *options)
    return _needs_apiserver(cluster, "kubelet", argv)


def _shared_flags(cluster: Cluster, service: str) -> Sequence[str]:
    return (
        f"--kubeconfig={cluster.kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={cluster.ports[service]}",
        f"--tls-cert-file={cluster.server.certificate}",
        f"--tls-private-key-file={cluster.server.key}",
        "--leader-elect=false",
        "--profiling=false",
    )


def _needs_apiserver(
    cluster: Cluster, service: str, argv: Sequence[str], probe: Probe | None = None
) -> Component:
    port = cluster.ports[service]
    probe = probe or Probe(f"https://127.0.0.1:{port}/healthz", str(cluster.authority.certificate))
    return Component(f"{cluster.name}.{service}", argv, probe, port, (f"{cluster.name}.apiserver",))
