"""What exists before the first server is started: the files that servers read, Google's servers as values."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sandbox import certificates, ports, storage
from sandbox.cloud import accounts, gke, sql, tokens
from sandbox.components import CLOUD, KMS, STORAGE, Component, Probe
from sandbox.controlplane import SERVICES, Cluster, port_name
from sandbox.kms.access import DEPLOYER, KEY_OWNER
from sandbox.state import State
from tasks.lib.files import write_atomically

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment

FILES = Path(__file__).resolve().parent
LOOPBACK = ("127.0.0.1", "localhost")
# How pods call the API server.
IN_CLUSTER = (
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "kubernetes.default",
    "10.96.0.1",
)


def assign_ports(state: State, clusters: Sequence[str]) -> Mapping[str, int]:
    """The ports of all services, with those of the clusters that are named."""
    of_clusters = [port_name(cluster, service) for cluster in clusters for service in SERVICES]
    return ports.assign(state, [CLOUD, STORAGE, KMS, *of_clusters])


def write_google(state: State, given: Mapping[str, int]) -> None:
    """Write the accounts and the certificate of the KMS."""
    authority = certificates.authority(state.tls, "sandbox-google")
    certificates.issue(authority, "server", "sandbox-kms", hosts=LOOPBACK)
    token_uri = f"{cloud_url(given)}/token"
    for email in (DEPLOYER, KEY_OWNER):
        name, _, rest = email.partition("@")
        permissions = accounts.DEPLOYER_PERMISSIONS if email == DEPLOYER else ()
        accounts.create(state.google, name, rest.partition(".")[0], token_uri, permissions)
    state.kms.mkdir(parents=True, exist_ok=True)
    listed = state.kms / tokens.FILE
    if not listed.is_symlink():
        listed.symlink_to(state.google / tokens.FILE)


def google_components(state: State, given: Mapping[str, int]) -> list[Component]:
    """Google's side: its REST APIs, storage and KMS."""
    return [_cloud(state, given), storage.component(state, given[STORAGE]), _kms(state, given)]


def write_cluster(
    state: State, name: str, given: Mapping[str, int], binaries: Mapping[str, Path], quota: int
) -> Cluster:
    """Write certificates and configuration of the cluster `name`; certificates that exist are kept."""
    folder = state.cluster(name)
    authority = certificates.authority(folder, name)
    hosts = (*LOOPBACK, *IN_CLUSTER)
    cluster = Cluster(
        name=name,
        folder=folder,
        binaries=binaries,
        ports={service: given[port_name(name, service)] for service in SERVICES},
        authority=authority,
        server=certificates.issue(authority, "server", "kube-apiserver", hosts=hosts),
        admin=certificates.issue(authority, "admin", "sandbox-admin", "system:masters"),
        etcd_quota=quota,
    )  # fmt: skip
    certificates.signing_key(folder / "service-accounts.key")
    user = {"client-certificate": str(cluster.admin.certificate), "client-key": str(cluster.admin.key)}
    server = {"server": cluster.url, "certificate-authority": str(authority.certificate)}
    write_atomically(cluster.kubeconfig, _kubeconfig(name, server, user))
    # Where the API server asks whose a bearer token is.
    review = {"server": f"{cloud_url(given)}/tokenreview"}
    write_atomically(folder / "token-review.kubeconfig", _kubeconfig("token-review", review, {}))
    write_atomically(folder / "kwok.yaml", stages())
    return cluster


def register(state: State, environment: "Environment", cluster: Cluster, version: str) -> None:
    """Register the cluster with the GKE API, and the environment's database with the Cloud SQL API."""
    endpoint, ca = cluster.url.removeprefix("https://"), cluster.authority.certificate.read_text()
    where = (environment.project, environment.zone, environment.cluster)
    gke.register(state.google, gke.KnownCluster(*where, endpoint, ca, version.removeprefix("v")))
    if environment.database.instance:
        sql.register(state.google, environment.database.project, environment.database.name)


def _kubeconfig(name: str, cluster: dict[str, str], user: dict[str, str]) -> bytes:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def stages() -> bytes:
    """How pods and nodes behave, as one stream of YAML: sandbox/stages/*.yaml."""
    return b"\n---\n".join(path.read_bytes() for path in sorted((FILES / "stages").glob("*.yaml")))


def cloud_url(given: Mapping[str, int]) -> str:
    """Where the sandbox's Google APIs are."""
    return f"http://127.0.0.1:{given[CLOUD]}"


def _cloud(state: State, given: Mapping[str, int]) -> Component:
    argv = (sys.executable, "-m", "sandbox.cloud.server", str(state.google), str(given[CLOUD]))
    return Component(CLOUD, argv, Probe(f"{cloud_url(given)}/healthz"), given[CLOUD])


def _kms(state: State, given: Mapping[str, int]) -> Component:
    pair = certificates.pair(state.tls, "server")
    argv = (sys.executable, "-m", "sandbox.kms", str(state.kms), str(given[KMS]), str(pair.certificate),
            str(pair.key))  # fmt: skip
    return Component(KMS, argv, Probe(f"tcp://127.0.0.1:{given[KMS]}"), given[KMS])
