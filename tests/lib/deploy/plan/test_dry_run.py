"""What a refused dry run leads to; whole ones run in tests/e2e."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.dry_run import DryRuns, Tried, beside, fix
from tasks.lib.deploy.steps import Action, Step
from tests.lib.cluster.scripted import Answer, scripted, status

KEY = "apps/v1", "Deployment"
WEB = Ref(*KEY, "default", "web")
BODY: dict[str, Any] = {
    "apiVersion": KEY[0],
    "kind": KEY[1],
    "metadata": {"name": "web"},
    "spec": {"replicas": 2, "a": 1},
}
TAKEN = ("autoscaler", ".spec.replicas")


def tried(folder: Path, owned: list[tuple[str, str]], *, concedes: bool) -> tuple[Tried, list[str]]:
    """How a change goes that is refused for these fields first; and the queries of its dry runs."""
    causes = [
        {"reason": "FieldManagerConflict", "field": field, "message": f'conflict with "{manager}"'}
        for manager, field in owned
    ]
    left = [cause for cause in causes if '"kubectl"' in cause["message"]]
    with scripted(folder) as server:
        server.answers = [status(409, "Conflict", "no", causes=causes)]
        server.answers += [status(409, "Conflict", "no", causes=left)] if left else []
        server.answers += [Answer(body=json.dumps(BODY).encode())]
        kinds = {KEY: Kind(*KEY, "deployments", namespaced=True)}
        trial = DryRuns(server.api(), kinds, ["kubectl"], [], "default", concedes=concedes)
        live = {**BODY, "metadata": {"name": "web", "labels": {"other": "label"}}}
        [one] = trial.run([Step(Wanted(WEB, BODY), Action.CHANGE, "", BODY, live)])
    return one, [asked.path.partition("?")[2] for asked in server.asked]


def test_what_others_own_is_a_conflict(tmp_path: Path) -> None:
    one, asked = tried(tmp_path, [TAKEN], concedes=False)

    assert [str(c) for c in one.conflicts] == ["Deployment web: .spec.replicas is managed by autoscaler"]
    assert one.conceded == ()
    assert len(asked) == 1


def test_conflicts_are_conceded_on_request(tmp_path: Path) -> None:
    one, asked = tried(tmp_path, [TAKEN], concedes=True)

    assert [str(c) for c in one.conceded] == ["Deployment web: .spec.replicas is managed by autoscaler"]
    assert one.conflicts == ()
    assert one.step.body["spec"] == {"a": 1}
    assert one.step.wanted.body["spec"] == BODY["spec"]
    assert len(asked) == 2


def test_a_predecessors_field_beside_it_is_taken_over(tmp_path: Path) -> None:
    one, asked = tried(tmp_path, [TAKEN, ("kubectl", ".spec.a")], concedes=True)

    assert [c.field for c in one.conceded] == [".spec.replicas"]
    assert [c.field for c in one.forced] == [".spec.a"]
    assert one.step.body["spec"] == {"a": 1}
    assert ["force" in query for query in asked] == [False, False, True]


@pytest.mark.parametrize("field", [".spec.elsewhere", "odd"])
def test_a_field_that_cannot_be_left_out_stays_a_conflict(tmp_path: Path, field: str) -> None:
    one, _ = tried(tmp_path, [TAKEN, ("other", field)], concedes=True)

    assert len(one.conflicts) == 2
    assert one.step.body == BODY


def test_a_takeover_is_previewed_by_a_second_dry_run(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"f:spec": {"f:a": {}, "f:gone": {}}}
    theirs = {
        "manager": "kubectl",
        "operation": "Update",
        "apiVersion": KEY[0],
        "time": "",
        "fieldsV1": fields,
    }
    metadata = {"name": "web", "resourceVersion": "1", "managedFields": [theirs]}
    live = {**BODY, "metadata": metadata, "spec": {"replicas": 2, "a": 1, "gone": 1}}
    ours = {**theirs, "manager": "lookit-orchestrator", "fieldsV1": {"f:spec": {"f:a": {}}}}
    result = {**live, "metadata": {**metadata, "managedFields": [theirs, ours]}}
    defaulted = {**live, "spec": {"replicas": 2, "a": 1, "gone": 0}}
    with scripted(tmp_path) as server:
        server.answers = [Answer(body=json.dumps(one).encode()) for one in (result, defaulted)]
        kinds = {KEY: Kind(*KEY, "deployments", namespaced=True)}
        trial = DryRuns(server.api(), kinds, ["kubectl"], [], "default")
        [one] = trial.run([Step(Wanted(WEB, BODY), Action.CHANGE, "", BODY, live)])

    assert one.result == defaulted
    second = server.asked[1]
    assert second.path.endswith("/deployments/web?dryRun=All")
    assert {"op": "add", "path": "/spec", "value": {"replicas": 2, "a": 1}} in json.loads(second.body)


def test_a_recreated_object_is_tried_under_another_name(tmp_path: Path) -> None:
    key = "storage.k8s.io/v1", "StorageClass"
    ref, body = Ref(*key, "", "ssd"), {"metadata": {"name": "ssd"}, "provisioner": "new"}
    made = {"metadata": {"name": "ssd-dry-run"}, "provisioner": "new", "reclaimPolicy": "Delete"}
    with scripted(tmp_path) as server:
        server.answers = [
            status(422, "Invalid", "field is immutable"),
            Answer(body=json.dumps(made).encode()),
        ]
        kinds = {key: Kind(*key, "storageclasses", namespaced=False)}
        live = {"apiVersion": key[0], **body, "provisioner": "old"}
        [one] = DryRuns(server.api(), kinds, [], [], "default").run(
            [Step(Wanted(ref, body), Action.CHANGE, "", body, live)]
        )

    assert one.step.action is Action.RECREATE
    assert one.result == {**made, "metadata": {"name": "ssd"}}
    assert json.loads(server.asked[1].body)["metadata"]["name"] == "ssd-dry-run"


DYING = {**BODY, "metadata": {"name": "web", "uid": "1", "deletionTimestamp": "now"}}


def recreated(folder: Path, ref: Ref, answer: Answer) -> tuple[Tried, list[str]]:
    """How recreating goes what is being deleted, and the requests that it takes."""
    kinds = {(ref.api_version, ref.kind): Kind(ref.api_version, ref.kind, "things", namespaced=True)}
    with scripted(folder) as server:
        server.answers = [answer]
        trial = DryRuns(server.api(), kinds, ["kubectl"], [], "default")
        [one] = trial.run([Step(Wanted(ref, BODY), Action.RECREATE, "", BODY, DYING)])
    return one, [asked.path for asked in server.asked]


@pytest.mark.parametrize(
    "answer",
    [Answer(body=json.dumps(BODY).encode()), status(422, "Invalid", "field is immutable")],
    ids=["taken", "what cannot be changed in the present one"],
)
def test_a_recreation_ignores_immutable_fields_and_owners(tmp_path: Path, answer: Answer) -> None:
    one, asked = recreated(tmp_path, WEB, answer)

    assert (one.problem, one.conflicts, one.step.action) == ("", (), Action.RECREATE)
    assert "force=true" in asked[0]


def test_a_recreated_object_may_be_refused_for_itself(tmp_path: Path) -> None:
    one, _ = recreated(tmp_path, WEB, status(422, "Invalid", "spec.replicas: Invalid value: -1"))

    assert one.problem == "Deployment web: spec.replicas: Invalid value: -1"


def test_a_data_object_that_is_being_deleted_is_refused(tmp_path: Path) -> None:
    one, asked = recreated(tmp_path, Ref("v1", "PersistentVolumeClaim", "default", "data"), Answer())

    assert one.problem.startswith("PersistentVolumeClaim data: it is being deleted. Wait until it is gone")
    assert asked == []


@pytest.mark.parametrize(
    ("ref", "out"),
    [
        (
            Ref("scheduling.k8s.io/v1", "PriorityClass", "", "high"),
            "fix: `kubectl delete priorityclass high`, then deploy again.",
        ),
        (
            Ref("v1", "Secret", "staging", "token"),
            "fix: `kubectl -n staging delete secret token`, then deploy again.",
        ),
        (
            Ref("v1", "PersistentVolumeClaim", "staging", "data"),
            "fix: restore the current value in the manifests, or give it another name. "
            "`kubectl -n staging delete persistentvolumeclaim data` deletes all data in it.",
        ),
    ],
    ids=["of the whole cluster", "of a namespace", "with data in it"],
)
def test_the_fix_of_an_immutable_field_can_be_pasted(ref: Ref, out: str) -> None:
    assert fix(ref) == out


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("migration", "migration-dry-run"),
        ("j" * 55, "j" * 55 + "-dry-run"),
        ("j" * 63, "j" * 55 + "-dry-run"),
        ("j" * 54 + ".k" * 5, "j" * 54 + "-k-dry-run"),
    ],
    ids=["short", "just short enough", "as long as may be", "too long"],
)
def test_the_dry_run_refuses_long_job_names(name: str, other: str) -> None:
    assert beside(name) == other
    assert (len(other) > 63) == (len(name) > 63)


@pytest.mark.parametrize(
    ("manifest", "out"),
    [
        ({}, "fix: `kubectl -n default rollout resume deployment/web`, then deploy again."),
        ({"paused": True}, "fix: take `paused` out of its manifest, then deploy again."),
    ],
    ids=["by hand", "by its manifest"],
)
def test_a_paused_rollout_is_refused_with_its_fix(
    tmp_path: Path, manifest: dict[str, bool], out: str
) -> None:
    body = {**BODY, "spec": {**BODY["spec"], **manifest}}
    with scripted(tmp_path) as server:
        server.answers = [Answer(body=json.dumps({**BODY, "spec": {"paused": True}}).encode())]
        kinds = {KEY: Kind(*KEY, "deployments", namespaced=True)}
        trial = DryRuns(server.api(), kinds, ["kubectl"], [], "default")
        [one] = trial.run([Step(Wanted(WEB, body), Action.CHANGE, "", body, BODY)])

    assert one.problem.splitlines() == [
        "Deployment web: its rollout is paused, so nothing would happen.",
        out,
    ]


JOB = Ref("batch/v1", "Job", "default", "migration")
RESUME = """kubectl -n default patch job migration --type=merge -p '{"spec":{"suspend":false}}'"""


@pytest.mark.parametrize(
    ("action", "manifest", "live", "out"),
    [
        (Action.RUN, True, None, "fix: take `suspend` out of its manifest, then deploy again."),
        (Action.AWAIT, True, True, f"fix: take `suspend` out of its manifest, and `{RESUME}`, then deploy again."),
        (Action.AWAIT, False, True, f"fix: `{RESUME}`, then deploy again."),
        (Action.RUN, False, True, ""),
        (Action.AWAIT, False, False, ""),
        (Action.SKIP, True, True, ""),
    ],
    ids=["a new one", "by its manifest", "by hand", "by hand, recreated", "one that runs", "one that ran"],
)  # fmt: skip
def test_a_suspended_job_is_refused(
    tmp_path: Path, action: Action, manifest: bool, live: bool | None, out: str
) -> None:
    def body(suspend: bool) -> dict[str, Any]:
        return {"kind": "Job", "metadata": {"name": "migration"}, "spec": {"suspend": suspend}}

    with scripted(tmp_path) as server:
        server.answers = [Answer(body=json.dumps(body(suspend=manifest)).encode())]
        kinds = {(JOB.api_version, JOB.kind): Kind(JOB.api_version, JOB.kind, "jobs", namespaced=True)}
        trial = DryRuns(server.api(), kinds, [], [], "default")
        wanted = body(suspend=manifest)
        there = None if live is None else body(suspend=live)
        [one] = trial.run([Step(Wanted(JOB, wanted), action, "", wanted, there)])

    assert one.problem.splitlines()[:1] == (
        ["Job migration: it is suspended, so it would never end."] if out else []
    )
    assert one.problem.splitlines()[1:] == ([out] if out else [])


@pytest.mark.parametrize(
    ("ref", "plural", "field", "fault"),
    [
        (JOB, "jobs", "suspend", "Job migration: it is suspended, so it would never end."),
        (WEB, "deployments", "paused", "Deployment web: its rollout is paused, so nothing would happen."),
    ],
    ids=["a Job", "a Deployment"],
)
def test_a_paused_manifest_is_refused_before_its_namespace_exists(
    tmp_path: Path, ref: Ref, plural: str, field: str, fault: str
) -> None:
    made = Ref("v1", "Namespace", "", ref.namespace)
    wanted = {**BODY, "kind": ref.kind, "metadata": {"name": ref.name}, "spec": {field: True}}
    kinds = {
        (ref.api_version, ref.kind): Kind(ref.api_version, ref.kind, plural, namespaced=True),
        ("v1", "Namespace"): Kind("v1", "Namespace", "namespaces", namespaced=False),
    }
    with scripted(tmp_path) as server:
        server.answers = [status(404, "NotFound", f'namespaces "{ref.namespace}" not found')]
        namespace = Step(Wanted(made, {}), Action.KEEP, "", {})
        tried = DryRuns(server.api(), kinds, [], [], "default").run(
            [namespace, Step(Wanted(ref, wanted), Action.RUN, "", wanted)]
        )

    assert [one.problem.partition("\n")[0] for one in tried] == ["", fault]


def test_a_paused_rollout_is_refused_without_a_dry_run(tmp_path: Path) -> None:
    """It takes the place of one that is being deleted, with another selector."""
    wanted = {**BODY, "spec": {"paused": True}}
    with scripted(tmp_path) as server:
        server.answers = [status(422, "Invalid", "spec.selector: field is immutable")]
        kinds = {KEY: Kind(*KEY, "deployments", namespaced=True)}
        step = Step(Wanted(WEB, wanted), Action.RECREATE, "", wanted, BODY)
        [one] = DryRuns(server.api(), kinds, [], [], "default").run([step])

    assert one.problem.startswith("Deployment web: its rollout is paused")
