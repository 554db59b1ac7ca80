"""`replicas` that left a manifest, beside an autoscaler and without one."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster.gke import Connection, Found
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.apply import Writer
from tasks.lib.deploy.events import Record
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.autoscaling import AUTOSCALER, notes, settled
from tasks.lib.deploy.plan.diff import COPY
from tasks.lib.deploy.steps import Action, Step
from tests.lib.cluster.scripted import Answer, scripted, status

DEPLOYMENT = "apps/v1", "Deployment"
WEB = Ref(*DEPLOYMENT, "default", "web")
KINDS = {
    AUTOSCALER: Kind(*AUTOSCALER, "horizontalpodautoscalers", namespaced=True),
    DEPLOYMENT: Kind(*DEPLOYMENT, "deployments", namespaced=True),
}
REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
OURS = {
    "manager": "lookit-orchestrator",
    "operation": "Apply",
    "apiVersion": "apps/v1",
    "fieldsV1": REPLICAS,
}
KUBECTL = {"manager": "kubectl", "operation": "Update", "fieldsV1": REPLICAS}
SCALE = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "subresource": "scale",
    "fieldsV1": REPLICAS,
}
AUTOSCALES: dict[str, Any] = {
    "apiVersion": AUTOSCALER[0],
    "kind": AUTOSCALER[1],
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}},
}
STAY = "replicas removed from the manifest: the 4 pods of its autoscaler are kept"
GO = (
    "replicas removed from the manifest: its 4 pods become 1; "
    "restore it, or deploy the HorizontalPodAutoscaler too: its count is kept"
)


def change(*managers: dict[str, Any], body: dict[str, Any] | None = None, there: int = 4) -> Step:
    """A Deployment whose manifest says nothing of replicas any more."""
    wanted = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": body or {"paused": False}}
    metadata = {"name": "web", "managedFields": [*managers]}
    live = {"apiVersion": "apps/v1", "metadata": metadata, "spec": {"replicas": there}}
    return Step(Wanted(WEB, wanted), Action.CHANGE, "", wanted, live)


def after(folder: Path, step: Step, *rendered: dict[str, Any], answer: Answer) -> Step:
    """The step with what is known of autoscalers."""
    objects = [Wanted(Ref(*AUTOSCALER, "default", "web"), one) for one in rendered]
    with scripted(folder) as server:
        server.answers = [answer]
        connection = Connection(Found("p", "l", "n", server.endpoint), server.api(), KINDS)
        [found] = settled(connection, [step], objects, ["kubectl"])
    return found


def listing(*items: dict[str, Any]) -> Answer:
    return Answer(body=json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}).encode())


@pytest.mark.parametrize(
    ("rendered", "answer"),
    [
        ([AUTOSCALES], listing()),
        ([], listing(AUTOSCALES)),
        ([{**AUTOSCALES, "spec": {"scaleTargetRef": {"name": "web"}}}], listing()),
    ],
    ids=["in the manifests", "in the cluster", "of KEDA"],
)
@pytest.mark.parametrize("manager", [OURS, KUBECTL], ids=["ours", "a predecessor's"])
def test_the_count_of_an_autoscaler_is_kept(
    tmp_path: Path, manager: dict[str, Any], rendered: list[dict[str, Any]], answer: Answer
) -> None:
    step = after(tmp_path, change(manager), *rendered, answer=answer)

    assert step.body["spec"] == {"paused": False, "replicas": 4}
    assert step.reason == STAY
    assert step.wanted.body["spec"] == {"paused": False}


@pytest.mark.parametrize(
    "answer",
    [
        listing(),
        listing({**AUTOSCALES, "spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "web"}}}),
        status(403, "Forbidden", "may not list"),
    ],
    ids=["none", "of something else", "not to be known"],
)
def test_without_an_autoscaler_the_lost_pods_are_noted(tmp_path: Path, answer: Answer) -> None:
    step = after(tmp_path, change(OURS), answer=answer)

    assert step.body["spec"] == {"paused": False}
    assert notes([step]) == [f"Deployment web: {GO}"]


@pytest.mark.parametrize(
    "step",
    [
        change(OURS, SCALE),
        change(SCALE),
        change(),
        change(OURS, body={"replicas": 2}),
        change(OURS, there=1),
        change(OURS).with_action(Action.KEEP, ""),
    ],
    ids=["set by the autoscaler too", "set by it alone", "by nobody", "still in the manifest", "one", "no change"],
)  # fmt: skip
def test_steps_that_lose_no_replicas_stay_the_same(tmp_path: Path, step: Step) -> None:
    assert after(tmp_path, step, AUTOSCALES, answer=status(500, "Internal", "not to be asked")) == step


def test_what_kubectl_applied_before_managed_fields_counts(tmp_path: Path) -> None:
    step = change()
    assert step.live
    step.live["metadata"]["annotations"] = {COPY: json.dumps({"spec": {"replicas": 4}})}

    assert after(tmp_path, step, AUTOSCALES, answer=listing()).reason == STAY


def test_a_count_that_changes_meanwhile_is_left_to_the_autoscaler(tmp_path: Path) -> None:
    step = after(tmp_path, change(OURS), AUTOSCALES, answer=listing())
    message = 'conflict with "kube-controller-manager" with subresource "scale"'
    causes = [{"reason": "FieldManagerConflict", "message": message, "field": ".spec.replicas"}]
    with scripted(tmp_path) as server:
        server.answers = [
            status(409, "Conflict", "Apply failed", causes=causes),
            Answer(body=b'{"stored": 1}'),
        ]
        record = Record("staging")
        record.plan("phase", [step])

        done = Writer(server.api(), KINDS, {}, [], record, lambda event: None, 30).apply([step])

        assert done == {WEB: {"stored": 1}}
        assert json.loads(server.asked[-1].body)["spec"] == {"paused": False}
        assert "force" not in server.asked[-1].path
