"""A real node: containers run, are reached and watched by a kubelet, and go on when a server of it is killed."""

import signal

import psutil
import pytest

from sandbox import lifecycle, processes, watching
from sandbox.containers.place import NODE
from tests.real_node import CLUSTER, SERVERS, SPACE, TIME_LIMIT, Node, wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600), pytest.mark.xdist_group("node")]


def test_a_container_runs_on_the_real_node(node: Node) -> None:
    pod = node.pod("web")

    assert pod["spec"]["nodeName"] == NODE
    assert pod["status"]["hostIP"] == node.place.address
    assert pod["status"]["containerStatuses"][0]["containerID"].startswith("containerd://")
    assert any("probe" in psutil.Process(one.pid).name() for one in node.inside())


def test_logs_and_exec_come_back_through_the_kubelet(node: Node) -> None:
    assert "listening on :8080" in node.kubectl("logs", "web")
    assert "this is web" in node.probe("get", "http://127.0.0.1:8080/")


def test_a_service_answers_by_name_and_by_address(node: Node) -> None:
    service = node.api.get(f"/api/v1/namespaces/{SPACE}/services/site")
    assert service

    assert "this is web" in node.probe("get", f"http://site.{SPACE}.svc.cluster.local/")
    assert "this is web" in node.probe("get", "http://site/")
    assert "this is web" in node.probe("get", f"http://{service['spec']['clusterIP']}/")


def test_pods_reach_the_api_server_and_nothing_outside(node: Node) -> None:
    assert '"gitVersion": "v1.' in node.probe("get", "https://kubernetes.default.svc/version")
    assert "no such host" in node.probe("lookup", "www.example.com")
    assert "refused" in node.probe("get", "http://192.0.2.1/")


def test_google_has_its_real_names_and_certificates_of_the_cluster(node: Node) -> None:
    bucket = node.sandbox.settings.environment("staging").buckets.archives

    assert f'"name":"{bucket}"' in node.probe("get", f"https://storage.googleapis.com/storage/v1/b/{bucket}")
    assert "ok" in node.probe("get", "https://oauth2.googleapis.com/healthz")


def test_a_failing_readiness_probe_is_seen(node: Node) -> None:
    probe = {"httpGet": {"path": "/never", "port": 8080}, "periodSeconds": 1}

    node.run("unready", "serve", ":8080", container={"readinessProbe": probe})

    def is_told() -> bool:
        return any("statuscode: 503" in message for message in node.events("unready"))

    wait_until("the event says what the probe got", is_told)
    assert not node.is_ready("unready")
    assert node.pod("unready")["status"]["phase"] == "Running"


def test_a_claim_gets_a_disk_that_its_group_writes(node: Node) -> None:
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                 "resources": {"requests": {"storage": "1Gi"}}},
    }  # fmt: skip
    node.api.create(f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims", claim)

    node.run(
        "writer", "write", "/disk/file",
        container={"volumeMounts": [{"name": "disk", "mountPath": "/disk"}]},
        volumes=[{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}],
        securityContext={"fsGroup": 2000}, restartPolicy="Never",
    )  # fmt: skip

    wait_until("it has written", lambda: node.pod("writer")["status"]["phase"] == "Succeeded")
    (written,) = node.place.disks.glob("*/file")
    assert written.read_text() == "written"
    assert written.stat().st_gid == 2000


def test_simulated_nodes_are_there_beside_it(node: Node) -> None:
    node.make_namespace("simulated", {})

    node.run("pretends", space="simulated")

    wait_until("the simulated pod is ready", lambda: node.is_ready("pretends", "simulated"))
    assert node.pod("pretends", "simulated")["spec"]["nodeName"].startswith("sandbox-node-")


def test_status_and_logs_know_the_node(node: Node) -> None:
    known = {one.name: one.problem for one in watching.status(node.state)}

    assert {name: known[f"{CLUSTER}.{name}"] for name in SERVERS} == dict.fromkeys(SERVERS, "")
    assert "Started kubelet" in watching.logs(node.state, f"{CLUSTER}.node-kubelet").read_text()


def test_up_again_without_containers_keeps_the_node(node: Node) -> None:
    before = {one.name: one.pid for one in watching.status(node.state)}

    after = {one.name: one.pid for one in lifecycle.up(node.sandbox.settings, ["staging"])}

    assert after == before


@pytest.mark.parametrize("server", ["node-containerd", "node-kubelet"])
def test_a_killed_server_comes_back_and_containers_go_on(node: Node, server: str) -> None:
    before = node.pod("web")["status"]["containerStatuses"][0]
    victim = node.program(server)

    processes.signal_to(victim, signal.SIGKILL)

    assert not processes.wait_for_end([victim], TIME_LIMIT)
    wait_until("all is well", lambda: not [one for one in watching.status(node.state) if one.problem])
    wait_until("exec works", lambda: "this is web" in node.probe("get", "http://site/"))
    assert node.pod("web")["status"]["containerStatuses"][0]["containerID"] == before["containerID"]


def test_pods_start_again_after_the_node_died(node: Node) -> None:
    before = node.inside()
    first = node.place.first_process()
    assert first

    processes.signal_to(first, signal.SIGKILL)

    assert not processes.wait_for_end(before, TIME_LIMIT)
    wait_until(
        "web was started again", lambda: node.pod("web")["status"]["containerStatuses"][0]["restartCount"]
    )
    wait_until("web answers", lambda: "this is web" in node.probe("get", "http://site/"))
