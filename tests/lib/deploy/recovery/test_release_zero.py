"""What is kept of what others deployed; bringing it back runs in tests/e2e."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster.gke import Connection, Found
from tasks.lib.cluster.kinds import Kind, Kinds
from tasks.lib.deploy import history
from tasks.lib.deploy.events import Event
from tasks.lib.deploy.objects import APPLIED, Ref, Wanted
from tasks.lib.deploy.recovery import release_zero
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure
from tests.lib.cluster.scripted import Answer, Scripted, scripted, status
from tests.lib.deploy.sessions import a_session

KINDS: Kinds = {("v1", "ConfigMap"): Kind("v1", "ConfigMap", "configmaps", namespaced=True)}
COPY = "kubectl.kubernetes.io/last-applied-configuration"
POD = {"containers": [{"name": "web", "image": "a", "envFrom": [{"configMapRef": {"name": "settings"}}]}]}


def live(kind: str, name: str, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    annotations = more.pop("annotations", {})
    metadata = {
        "name": name, "namespace": "default", "uid": "1", "resourceVersion": "7", "creationTimestamp": "then",
        "annotations": annotations, "managedFields": list(entries),
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


def step(there: dict[str, Any] | None, kind: str = "Deployment", action: Action = Action.CHANGE) -> Step:
    return Step(Wanted(Ref("v1", kind, "default", "web"), {}), action, "", {}, there)


@pytest.mark.parametrize(
    ("one", "kept"),
    [
        (step(live("Deployment", "web")), True),
        (step(live("StorageClass", "ssd"), "StorageClass", Action.RECREATE), True),
        (step(live("Deployment", "web", annotations={APPLIED: "x"})), False),
        (step(live("Deployment", "web"), action=Action.KEEP), False),
        (step(None, action=Action.CREATE), False),
        (step(live("Job", "web"), "Job", Action.RUN), False),
        (step(live("PersistentVolumeClaim", "web"), "PersistentVolumeClaim"), False),
    ],
    ids=["changed", "recreated", "ours", "unchanged", "new", "a job", "a claim"],
)
def test_what_others_deployed_and_a_roll_back_restores_is_kept(one: Step, kept: bool) -> None:
    assert release_zero.is_of_others(one) is kept


def test_the_state_of_an_object_is_what_people_set() -> None:
    controller = {"manager": "kube-controller-manager", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    people = {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    noted = {release_zero.REVISION: "4", COPY: "{}", "mine": "x"}
    there = live(
        "Deployment", "web", controller, people, annotations=noted, status={"replicas": 3},
        spec={"replicas": 3, "paused": True, "template": {"metadata": {"creationTimestamp": None}}},
    )  # fmt: skip

    kept = release_zero.state(step(there).ref, there)

    assert kept.body == {
        "apiVersion": "v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "annotations": {COPY: "{}", "mine": "x"}},
        "spec": {"paused": True, "template": {"metadata": {}}},
    }
    assert there["spec"]["replicas"] == 3


def keep(server: Scripted, *steps: Step, past: Sequence[int] = ()) -> list[Event]:
    told: list[Event] = []
    connection = Connection(Found("mine", "here", "one", server.endpoint), server.api(), KINDS)
    session = a_session(connection, told)
    session.past = [history.Release(number, {"result": "killed"}, "") for number in past]
    release_zero.keep(session, steps)
    assert session.past == ([session.zero] if told else session.past)
    return told


WEB = step(live("Deployment", "web", spec={"template": {"spec": POD}}))


def test_the_configuration_that_its_pods_read_is_kept_with_it(tmp_path: Path) -> None:
    secret = step(live("Secret", "web", data={"k": "c2VjcmV0"}), "Secret")
    with scripted(tmp_path) as server:
        settings = live("ConfigMap", "settings", data={"DEBUG": ""})
        server.answers = [Answer(body=json.dumps(settings).encode()), Answer()]

        [told] = keep(server, WEB, secret)

    assert "kept as release 0" in str(told)
    written = json.loads(server.asked[-1].body)
    assert written["metadata"]["name"] == "lookit-orchestrator-release-0"
    facts = written["data"]
    assert (facts["result"], facts["who"]) == ("before the first deploy", "me")
    assert json.loads(facts["secrets"]) == [{"name": "web", "namespace": "default", "keys": ["k"]}]
    kept = history.Release(0, facts, written["binaryData"]["objects"]).objects()
    assert [(one["kind"], one["metadata"]["name"]) for one in kept] == [
        ("Deployment", "web"),
        ("ConfigMap", "settings"),
    ]


@pytest.mark.parametrize(
    ("there", "asked"),
    [([1, 0], []), ([0], ["DELETE", "POST"])],
    ids=["a deploy followed it", "no deploy followed it"],
)
def test_release_0_stays_once_a_deploy_followed_it(
    tmp_path: Path, there: list[int], asked: list[str]
) -> None:
    plain = step(live("Service", "web"), "Service")
    with scripted(tmp_path) as server:
        server.answers = [Answer()]
        keep(server, plain, past=there)

    assert [one.method for one in server.asked] == asked


def test_nothing_is_asked_where_all_is_ours(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        assert keep(server, step(None, action=Action.CREATE)) == []
        assert server.asked == []


def test_nothing_is_changed_where_it_cannot_be_kept(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        server.answers = [status(403, "Forbidden", "exceeded quota")]
        with pytest.raises(Failure, match="as release 0: nothing was changed") as caught:
            keep(server, step(live("Service", "web"), "Service"))

    assert "exceeded quota" in caught.value.why
