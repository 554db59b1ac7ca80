"""Why workloads do not become ready, as a real kubelet and real containers say it."""

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest

from sandbox import processes
from sandbox.containers import furnishing
from sandbox.containers.place import LABEL, NODE, REAL
from tests.deployed import deploy, words
from tests.real_node import IMAGE, TIME_LIMIT, Node, wait_until
from tests.sandbox_case import Case, corner, merged

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600), pytest.mark.xdist_group("node")]

# With a probe, as every workload of Lookit has one: a container without is ready while it runs, if for a moment only.
READY = {
    "command": ["/probe", "serve", ":8080"],
    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
}
NEVER_READY = {"httpGet": {"path": "/never", "port": 8080}, "periodSeconds": 1}
# From how much free room on a kubelet calls a disk full.
ENOUGH, FULL = "nodefs.available: 1%", "nodefs.available: 99%"


@dataclass(frozen=True)
class Broken:
    """A pod that does not become ready, and what a deploy says of it."""

    told: tuple[str, ...]
    container: Mapping[str, Any] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)


def reads(kind: str, **reference: str) -> dict[str, Any]:
    return {"env": [{"name": "VALUE", "valueFrom": {kind: reference}}]}


BROKEN = {
    "secret missing": Broken(
        ("container main: CreateContainerConfigError", 'secret "late" not found'),
        reads("secretKeyRef", name="late", key="password"),
    ),
    "volume's ConfigMap missing": Broken(
        (
            "FailedMount: a ConfigMap, Secret or key that a volume names is missing",
            'configmap "late" not found',
        ),
        pod={"volumes": [{"name": "late", "configMap": {"name": "late"}}]},
        container={"volumeMounts": [{"name": "late", "mountPath": "/late"}]},
    ),
    "wrong command": Broken(
        ("container main:", 'exec: "/nowhere": stat /nowhere: no such file or directory'),
        {"command": ["/nowhere"]},
    ),
    "command not on the path": Broken(
        (
            "CrashLoopBackOff: the container cannot be started",
            'exec: "nowhere": executable file not found in $PATH',
        ),
        {"command": ["nowhere"]},
    ),
    "ends again and again": Broken(
        ("container main: CrashLoopBackOff", "no such word: nonsense"),
        {"command": ["/probe", "nonsense", ""]},
    ),
    "needs more memory than it may have": Broken(
        ("OOMKilled",),
        {"command": ["/probe", "fill", "64"], "resources": {"limits": {"memory": "32Mi"}}},
    ),
    "init container fails": Broken(
        ("init container first", "CrashLoopBackOff", "no such word: nonsense"),
        pod={
            "initContainers": [
                {
                    "name": "first",
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["/probe", "nonsense", ""],
                }
            ]
        },
    ),
    "image not on the node": Broken(
        ("container main: ErrImageNeverPull: the image is not on the node and may not be pulled",),
        {"image": "sandbox.local/nothing:1"},
    ),
    # There is no registry: what a node says of one that does not answer, and may answer again.
    "image cannot be pulled": Broken(
        (
            "container main: ",
            "the image cannot be pulled; a slow or unavailable registry may recover",
            "connection refused",
        ),
        {"image": "192.0.2.1:5000/nothing:1", "imagePullPolicy": "IfNotPresent"},
    ),
    "more on disk than a container may have": Broken(
        (
            "Evicted: the pod used more disk than its `ephemeral-storage` or `sizeLimit` allows",
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Ki.",
        ),
        {"readinessProbe": NEVER_READY, "resources": {"limits": {"ephemeral-storage": "1Ki"}}},
    ),
    "image's name malformed": Broken(
        ("container main: InvalidImageName: the image's name is malformed",),
        {"image": "Not//An:Image"},
    ),
}


class OnTheNode(Case):
    """A corner whose pods run on the real node, and may name what an operator would create later."""

    @cached_property
    def values(self) -> dict[str, Any]:
        return merged(super().values, {"deploy": {"provided": ["Secret/late", "ConfigMap/late"]}})


@pytest.fixture(scope="module")
def case(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with corner(node.sandbox, tmp_path_factory.mktemp("corner")) as made:
        annotations = {furnishing.NODE_SELECTOR: f"{LABEL}={REAL}"}
        made.api.patch(made.path, {"metadata": {"annotations": annotations}})
        yield OnTheNode(made.sandbox, made.folder, made.name)


def deployment(row: Broken) -> dict[str, Any]:
    labels = {"app": "site"}
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", **READY, **row.container}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], **row.pod}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "site"}, "spec": spec}


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_a_deploy_says_why_a_real_pod_does_not_start(case: Case, row: Broken) -> None:
    case.hold_only(deployment(row))

    done = deploy(case)

    assert done.code == 1, done.stderr
    missing = [text for text in row.told if text not in done.stderr]
    assert not missing, done.stderr


def test_a_failing_probe_is_told_while_a_deploy_waits(case: Case) -> None:
    case.hold_only(deployment(Broken((), {"readinessProbe": NEVER_READY})))

    with case.started(*words()) as running:
        running.moment_of("Unhealthy: a probe fails", TIME_LIMIT)
        running.moment_of("HTTP probe failed with statuscode: 503", TIME_LIMIT)
        running.send(signal.SIGTERM)
        assert running.end() == 143


def test_the_same_deployment_without_a_fault_is_deployed(case: Case) -> None:
    case.hold_only(deployment(Broken(())))

    assert deploy(case).code == 0


def test_a_node_whose_disk_is_full_takes_no_pods(node: Node, case: Case) -> None:
    """After all other tests of containers: the node stays full, and has evicted what ran there."""
    configuration = node.place.file("kubelet.yaml")
    text = configuration.read_text()
    assert ENOUGH in text
    configuration.write_text(text.replace(ENOUGH, FULL))
    processes.signal_to(node.program("node-kubelet"), signal.SIGKILL)
    # Not its condition, which says so first: a pod that is placed meanwhile is evicted.
    wait_until("no pod may go there", lambda: "node.kubernetes.io/disk-pressure" in taints(node))
    case.hold_only(deployment(Broken((), {"env": [{"name": "NEW", "value": "1"}]})))

    done = deploy(case, INVOKE_TIME_LIMITS_SCHEDULING="5s")

    assert done.code == 1, done.stderr
    assert "Unschedulable: no node can take the pod; an autoscaler may add one" in done.stderr
    assert "1 node(s) had untolerated taint(s)" in done.stderr  # the scheduler does not say which


def taints(node: Node) -> list[str]:
    found = node.api.get(f"/api/v1/nodes/{NODE}")
    assert found
    return [one["key"] for one in found["spec"].get("taints", ())]
