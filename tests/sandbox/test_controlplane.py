"""The command of every server, exactly."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sandbox.certificates import Pair
from sandbox.components import Component, read_plan, write_plan
from sandbox.controlplane import SERVICES, Cluster, components
from sandbox.preparing import FILES

F = Path("/s/clusters/c")
CLUSTER = Cluster(
    name="c",
    folder=F,
    binaries={name: Path("/bin") / name for name in
              ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")},
    ports={service: 1000 + number for number, service in enumerate(SERVICES)},
    authority=Pair(F / "ca.crt", F / "ca.key"),
    server=Pair(F / "server.crt", F / "server.key"),
    admin=Pair(F / "admin.crt", F / "admin.key"),
    etcd_quota=4096,
)  # fmt: skip

ARGV = {
    "c.etcd": [
        "/bin/etcd", "--name=sandbox", "--data-dir=/s/clusters/c/etcd",
        "--listen-client-urls=http://127.0.0.1:1000", "--advertise-client-urls=http://127.0.0.1:1000",
        "--listen-peer-urls=http://127.0.0.1:1001", "--initial-advertise-peer-urls=http://127.0.0.1:1001",
        "--initial-cluster=sandbox=http://127.0.0.1:1001", "--quota-backend-bytes=4096",
        "--auto-compaction-retention=5m", "--unsafe-no-fsync=true", "--log-level=warn",
    ],
    "c.apiserver": [
        "/bin/kube-apiserver", "--etcd-servers=http://127.0.0.1:1000", "--bind-address=127.0.0.1",
        "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", "--secure-port=1002",
        "--tls-cert-file=/s/clusters/c/server.crt", "--tls-private-key-file=/s/clusters/c/server.key",
        "--client-ca-file=/s/clusters/c/ca.crt", "--authorization-mode=Node,RBAC", "--allow-privileged=true",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-account-key-file=/s/clusters/c/service-accounts.key",
        "--service-account-signing-key-file=/s/clusters/c/service-accounts.key",
        "--authentication-token-webhook-config-file=/s/clusters/c/token-review.kubeconfig",
        "--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=10s",
        "--kubelet-client-certificate=/s/clusters/c/admin.crt",
        "--kubelet-client-key=/s/clusters/c/admin.key",
        "--kubelet-certificate-authority=/s/clusters/c/ca.crt",
        "--kubelet-preferred-address-types=InternalIP", "--profiling=false",
    ],
    "c.controller-manager": [
        "/bin/kube-controller-manager", "--kubeconfig=/s/clusters/c/admin.kubeconfig",
        "--bind-address=127.0.0.1", "--secure-port=1003", "--tls-cert-file=/s/clusters/c/server.crt",
        "--tls-private-key-file=/s/clusters/c/server.key", "--leader-elect=false", "--profiling=false",
        "--root-ca-file=/s/clusters/c/ca.crt",
        "--service-account-private-key-file=/s/clusters/c/service-accounts.key",
        "--node-monitor-grace-period=200s", "--kube-api-qps=500", "--kube-api-burst=1000",
    ],
    "c.scheduler": [
        "/bin/kube-scheduler", "--kubeconfig=/s/clusters/c/admin.kubeconfig", "--bind-address=127.0.0.1",
        "--secure-port=1004", "--tls-cert-file=/s/clusters/c/server.crt",
        "--tls-private-key-file=/s/clusters/c/server.key", "--leader-elect=false", "--profiling=false",
        "--kube-api-qps=500", "--kube-api-burst=1000",
    ],
    "c.kwok": [
        "/bin/kwok", "--config=/s/clusters/c/kwok.yaml", "--kubeconfig=/s/clusters/c/admin.kubeconfig",
        "--manage-all-nodes=true", "--node-ip=127.0.0.1", "--node-port=1006",
        "--node-lease-duration-seconds=200", "--server-address=127.0.0.1:1005",
    ],
    "c.kubelet": [
        sys.executable, "-m", "sandbox.node", "--cluster=/s/clusters/c", "--port=1006",
        "--url=https://127.0.0.1:1002",
    ],
}  # fmt: skip


@pytest.mark.parametrize("component", components(CLUSTER), ids=lambda component: component.name)
def test_the_command_is(component: Component) -> None:
    assert list(component.argv) == ARGV[component.name]


def test_each_starts_after_what_it_needs() -> None:
    assert {component.name: tuple(component.after) for component in components(CLUSTER)} == {
        "c.etcd": (),
        "c.apiserver": ("c.etcd",),
        "c.controller-manager": ("c.apiserver",),
        "c.scheduler": ("c.apiserver",),
        "c.kwok": ("c.apiserver",),
        "c.kubelet": ("c.apiserver",),
    }


def test_kwok_manages_only_its_own_nodes() -> None:
    beside = replace(CLUSTER, admission=F / "node" / "admission.yaml")

    more = {one.name: set(one.argv) - set(ARGV[one.name]) for one in components(beside)}

    assert {name: flags for name, flags in more.items() if flags} == {
        "c.apiserver": {
            "--enable-admission-plugins=PodNodeSelector",
            "--admission-control-config-file=/s/clusters/c/node/admission.yaml",
        },
        "c.kwok": {
            "--manage-all-nodes=false",
            "--manage-nodes-with-label-selector=sandbox.lookit.org/node=simulated",
        },
    }


def test_simulated_nodes_have_the_label_that_kwok_looks_for() -> None:
    nodes = yaml.safe_load_all((FILES / "cluster" / "nodes.yaml").read_text())

    assert {one["metadata"]["labels"]["sandbox.lookit.org/node"] for one in nodes} == {"simulated"}


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.json", components(CLUSTER))

    found = read_plan(tmp_path / "plan.json")

    assert [(one.name, list(one.argv), one.probe) for one in found] == [
        (one.name, list(one.argv), one.probe) for one in components(CLUSTER)
    ]


def test_without_a_plan_nothing_runs(tmp_path: Path) -> None:
    assert read_plan(tmp_path / "plan.json") == []
