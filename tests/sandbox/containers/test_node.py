"""A real node before it runs: its addresses, the commands of its servers, and what they are told."""

import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import certificates, ports
from sandbox.certificates import Pair
from sandbox.cloud.sql import Login
from sandbox.components import CLOUD, STORAGE, Component, Probe
from sandbox.containers import (
    cloud_sql,
    containerd,
    enter,
    first_process,
    furnishing,
    kubelet,
    namespaces,
    node,
    place,
    programs,
    services,
)
from sandbox.containers.equipment import Equipment, Node
from sandbox.containers.packages import Tools
from sandbox.containers.place import Forward, Place
from sandbox.controlplane import Cluster
from sandbox.state import State
from tasks.lib.settings.model import Database
from tests.builders import ROOT

F = Path("/s/clusters/c/node")
PLACE = Place(F, 20001, (Forward("198.18.0.10", 6443, 1002), Forward("198.18.0.11", 443, 1003)),
              Forward("198.18.0.13", 3307, 5432, "/crt", "/key", "/clients"))  # fmt: skip
TOOLS = Tools("/p/bin:/usr/bin", "/p/lib", Path("/p/cni"), {
    name: Path("/p/bin") / name for name in ("containerd", "ctr", "runc", "nft")})  # fmt: skip
CLUSTER = Cluster(
    name="c",
    folder=F.parent,
    binaries={},
    ports={"apiserver": 1002},
    authority=Pair(F.parent / "ca.crt", F.parent / "ca.key"),
    server=Pair(F.parent / "server.crt", F.parent / "server.key"),
    admin=Pair(F.parent / "admin.crt", F.parent / "admin.key"),
)
OWN = Pair(Path("/s/own.crt"), Path("/s/own.key"))
STORAGE_FOR_PODS = Component("c.node-storage", ("gcs",), Probe("https://127.0.0.1:1/health"), 1)
CONTAINER = {
    "process": {"cwd": "/", "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]},
    "mounts": [{"destination": "/proc"}],
}
NODE = Node(CLUSTER, PLACE, Equipment({
    name: Path("/b") / name for name in ("kubelet", "kube-proxy", "coredns", "pause")}, TOOLS, CONTAINER), STORAGE_FOR_PODS)  # fmt: skip

INSIDE = [sys.executable, "-m", "sandbox.containers.enter", "/s/clusters/c/node"]
ARGV = {
    "c.node-storage": ["gcs"],
    "c.node": [sys.executable, "-m", "sandbox.containers.namespaces", "/s/clusters/c/node"],
    "c.node-containerd": [*INSIDE, "/p/bin/containerd", "--config=/s/clusters/c/node/containerd.toml"],
    "c.node-kubelet": [
        *INSIDE, "/b/kubelet", "--config=/s/clusters/c/node/kubelet.yaml",
        "--kubeconfig=/s/clusters/c/node/kubelet.kubeconfig", "--root-dir=/run/kubelet",
        "--cert-dir=/s/clusters/c/node/kubelet-certificates", "--hostname-override=real-node-1",
        "--node-ip=198.18.0.10",
        "--node-labels=sandbox.lookit.org/node=real,topology.kubernetes.io/region=us-east1,"
        "topology.kubernetes.io/zone=us-east1-d",
    ],
    "c.node-kube-proxy": [*INSIDE, "/b/kube-proxy", "--config=/s/clusters/c/node/kube-proxy.yaml"],
    "c.node-dns": [*INSIDE, "/b/coredns", "-conf", "/s/clusters/c/node/Corefile"],
    "c.node-cloud-sql": [*INSIDE, sys.executable, "-m", "sandbox.containers.cloud_sql", "/s/clusters/c/node"],
}  # fmt: skip


def test_every_server_is_run_by_this_command() -> None:
    assert {one.name: list(one.argv) for one in node.components(NODE)} == ARGV


def test_each_server_is_asked_at_the_nodes_own_address() -> None:
    assert [one.probe.url for one in node.components(NODE)[1:]] == [
        "http://198.18.0.10:10247/healthz", "http://198.18.0.10:1338/v1/metrics", "http://198.18.0.10:10248/healthz",
        "http://198.18.0.10:10256/healthz", "http://198.18.0.10:8053/health", "http://198.18.0.10:10246/healthz",
    ]  # fmt: skip


def test_each_server_starts_after_what_it_needs() -> None:
    assert {one.name: one.after for one in node.components(NODE)} == {
        "c.node-storage": (),
        "c.node": ("c.apiserver", "google"),
        "c.node-containerd": ("c.node",),
        "c.node-kubelet": ("c.node", "c.node-containerd", "c.apiserver"),
        "c.node-kube-proxy": ("c.node", "c.apiserver"),
        "c.node-dns": ("c.node", "c.apiserver"),
        "c.node-cloud-sql": ("c.node",),
    }


def test_no_two_nodes_of_a_machine_have_anything_in_common() -> None:
    other = replace(PLACE, number=20002)
    addresses = {one for each in (PLACE, other) for one in (each.host, each.address)}

    assert addresses == {"198.18.0.9", "198.18.0.10", "198.18.0.17", "198.18.0.18"}
    assert (PLACE.link, PLACE.group) == ("lookit20001", "lookit-node-20001")
    assert (other.link, other.group) == ("lookit20002", "lookit-node-20002")


def test_the_last_port_of_the_range_has_addresses_too() -> None:
    assert Place(F, 31999).address == "198.19.118.250"


def test_a_place_is_read_as_it_was_written(tmp_path: Path) -> None:
    database = Forward("c", 3307, 5432, "/c", "/k", "/a")
    written = Place(tmp_path, 20005, (Forward("a", 443, 1, "/c", "/k"), Forward("b", 6443, 2)), database)

    written.write()

    assert place.read(tmp_path) == written
    assert written.first_process() is None


def test_an_environment_without_a_database_gets_none() -> None:
    without = replace(NODE, place=replace(PLACE, database=None))

    assert "c.node-cloud-sql" not in [one.name for one in node.components(without)]
    assert place.Place(F, 20001).instance == "198.18.0.13"


def test_nothing_comes_to_the_database_but_through_its_door() -> None:
    pod = cloud_sql.pod(Login("site", "user", "secret"), F / "database")

    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["hostNetwork"]
    assert container["args"][1] == "listen_addresses=127.0.0.1"
    assert {one["name"]: one["value"] for one in container["env"]} == {
        "POSTGRES_USER": "user", "POSTGRES_PASSWORD": "secret", "POSTGRES_DB": "site"}  # fmt: skip


def test_namespaces_end_with_the_process_that_made_them() -> None:
    assert namespaces.argv(F, 7) == (
        "setpriv", "--pdeathsig=KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL",
        "--mount-proc", "--propagation=slave", "--", sys.executable, "-m", "sandbox.containers.first_process",
        "/s/clusters/c/node", "7",
    )  # fmt: skip


def test_the_link_to_the_node_is_made_by() -> None:
    assert [" ".join(argv) for argv in namespaces.links(PLACE, 42)] == [
        "ip link add lookit20001 type veth peer name eth0 netns 42",
        "ip address add 198.18.0.9/29 dev lookit20001",
        "ip link set lookit20001 up",
    ]
    assert namespaces.unlink(PLACE) == ("ip", "link", "delete", "lookit20001")


def test_the_node_s_own_network_and_folders_are_made_by() -> None:
    assert [" ".join(argv) for argv in [*first_process.mounts(F), *first_process.network(PLACE)]] == [
        "mount -t tmpfs -o mode=755 tmpfs /run",
        f"mount -t overlay -o lowerdir=/var,upperdir={F}/var,workdir={F}/var.work overlay /var",
        "mkdir /run/kubelet",
        f"mount --bind {F}/kubelet /run/kubelet",
        "mount --make-rshared /",
        "ip link set lo up",
        "ip address add 198.18.0.10/29 dev eth0",
        "ip address add 198.18.0.11/32 dev lo",
        "ip address add 198.18.0.13/32 dev lo",
        "ip link set eth0 up",
        "ip route add default via 198.18.0.9",
    ]


def test_entering_namespaces_that_are_gone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Place(tmp_path, 20005).write()
    monkeypatch.setattr(sys, "argv", ["enter", str(tmp_path), "kubelet"])

    with pytest.raises(SystemExit, match="The node's namespaces are not there"):
        enter.main()


@pytest.mark.parametrize("may_lower", [True, False])
def test_containerd_uses_what_was_found(may_lower: bool) -> None:
    found = tomllib.loads(containerd.configuration(NODE, may_lower_oom_score=may_lower))

    cri = found["plugins"]["io.containerd.grpc.v1.cri"]
    assert found["root"] == f"{F}/containerd"
    assert cri["restrict_oom_score_adj"] is not may_lower
    assert cri["cni"] == {"bin_dir": "/p/cni", "conf_dir": f"{F}/cni"}
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {
        "BinaryName": "/p/bin/runc",
        "SystemdCgroup": False,
    }


def test_every_container_trusts_the_clusters_authority() -> None:
    found = containerd.base_container(PLACE, CONTAINER)

    assert [mount["destination"] for mount in found["mounts"]] == ["/proc", "/etc/sandbox-authority.crt"]
    assert found["mounts"][1]["source"] == f"{F}/trusted.crt"
    assert "SSL_CERT_FILE=/etc/sandbox-authority.crt" in found["process"]["env"]
    assert not [one for one in found["process"]["env"] if "CA_BUNDLE" in one], "Docker's client would obey"


def test_containers_keep_the_machines_limit_of_open_files() -> None:
    assert "rlimits" not in containerd.base_container(PLACE, CONTAINER)["process"]


def test_the_kubelet_requires_a_certificate_of_the_cluster() -> None:
    found = kubelet.configuration(NODE, OWN)

    assert found["authentication"]["anonymous"] == {"enabled": False}
    assert found["authentication"]["x509"] == {"clientCAFile": "/s/clusters/c/ca.crt"}
    assert found["cgroupRoot"] == "/lookit-node-20001"
    assert found["clusterDNS"] == ["198.18.0.10"]


def test_names_outside_do_not_exist_but_those_that_are_given() -> None:
    text = services.corefile(PLACE, node.google_names(PLACE))

    assert "storage.googleapis.com:53 {" in text
    assert 'answer "{{ .Name }} 5 IN A 198.18.0.11"' in text
    assert text.endswith(".:53 {\n  template ANY ANY {\n    rcode NXDOMAIN\n  }\n}\n")
    assert text.count("{") == text.count("}")


def test_the_name_of_the_api_server_certificate_is_checked() -> None:
    found: dict[str, Any] = node.kubeconfig(NODE, OWN)

    assert found["clusters"][0]["cluster"] == {
        "server": "https://198.18.0.10:6443",
        "tls-server-name": "kubernetes.default.svc",
        "certificate-authority": "/s/clusters/c/ca.crt",
    }


def test_a_node_is_added_with_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = State(tmp_path / "sandbox")
    ports.assign(here, [STORAGE, CLOUD])
    folder = here.cluster("c")
    authority = certificates.authority(folder, "c")
    admin = certificates.issue(authority, "admin", "admin")
    cluster = replace(CLUSTER, folder=folder, authority=authority, admin=admin)
    assert not node.has_one(here, "c")

    made = node.add(here, cluster, NODE.equipment, Database(instance="p:us-east1:db", backup=True))

    assert node.has_one(here, "c")
    assert place.read(folder / "node") == made.place
    assert made.place.database
    placed = json.loads((here.google / "sql/p_db/place.json").read_text())
    assert placed == {"region": "us-east1", "address": made.place.database.address}
    assert made.cluster.admission == folder / "node" / "admission.yaml"
    assert yaml.safe_load(made.cluster.admission.read_text())["plugins"][0]["name"] == "PodNodeSelector"
    named = yaml.safe_load((folder / "node/kubelet.kubeconfig").read_text())["users"][0]["user"]
    assert Path(named["client-certificate"]).exists()
    assert (folder / "node/cni/10-pods.conflist").exists()
    assert (folder / "node/trusted.crt").stat().st_mode & 0o777 == 0o644
    assert json.loads((folder / "node/base-container.json").read_text())["process"]["cwd"] == "/"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "The API server does not know it."),
        ({"status": {}}, "It has not said how it is."),
        ({"status": {"conditions": [{"type": "Ready", "status": "False", "message": "no network"}]}}, "no network"),
        ({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, ""),
    ],
    ids=["not there", "new", "not ready", "ready"],
)  # fmt: skip
def test_why_a_node_is_not_ready(found: Mapping[str, Any] | None, why: str) -> None:
    assert furnishing.not_ready(found) == why


def test_the_node_s_kubernetes_is_the_control_plane_s() -> None:
    versions = {one.name: one.version for one in programs.released()}

    assert versions["kubelet"] == versions["kube-proxy"] == versions["kube-apiserver"]
    assert versions["coredns"].startswith("v1.")


def test_go_links_every_program_that_is_asked_for() -> None:
    tools = (ROOT / "sandbox/controlplane/go.mod").read_text()

    assert all(f"\t{package}\n" in tools for package in programs.PACKAGES.values())
    assert all((programs.OTHERS / one.name / "main.go").exists() for one in programs.others())
