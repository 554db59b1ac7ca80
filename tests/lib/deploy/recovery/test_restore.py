from typing import Any

import pytest

from tasks.lib.deploy.events import Record, Result
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import APPLIED, Ref, Wanted
from tasks.lib.deploy.recovery.recover import require_secrets, restoration, touched, unfinished
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure

LIVE = {"metadata": {"name": "x", "uid": "1"}}


def body(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


def a(kind: str, name: str = "x", data: str = "new") -> Wanted:
    return Wanted(Ref("v1", kind, "default", name), body(kind, name, data=data))


def step(kind: str, action: Action, name: str = "x", live: dict[str, Any] | None = None) -> Step:
    return Step(a(kind, name), action, "", {}, live)


@pytest.mark.parametrize(
    ("one", "good", "restored", "removed", "left"),
    [
        (step("ConfigMap", Action.CHANGE, live=LIVE), [a("ConfigMap", data="old")], ["old"], 0, ""),
        (step("RoleBinding", Action.RECREATE, live=LIVE), [a("RoleBinding", data="old")], ["old"], 0, ""),
        (step("ConfigMap", Action.CREATE), [a("ConfigMap", data="old")], ["old"], 0, ""),
        (step("Service", Action.CREATE), [a("Service", "other")], [], 1, ""),
        (step("Service", Action.CHANGE, live=LIVE), [], [], 0, "the last good release lacks it"),
        (step("Job", Action.RUN), [a("Job", data="old")], [], 0, "migrations are never reversed"),
        (step("Job", Action.RUN, live=LIVE), [], [], 0, "migrations are never reversed"),
        (step("PersistentVolumeClaim", Action.CREATE), [], [], 0, "it holds data"),
        (step("Namespace", Action.CREATE), [], [], 0, "everything else lies in it"),
        (step("CustomResourceDefinition", Action.CHANGE), [], [], 0, "objects of its kind"),
        (step("Secret", Action.CREATE), [], [], 1, ""),
    ],
    ids=[
        "changed", "recreated", "was missing", "unknown to the good one", "foreign before", "job", "new job",
        "claim", "namespace", "definition", "hashed secret",
    ],
)  # fmt: skip
def test_each_touched_object_is_restored_removed_or_left(
    one: Step, good: list[Wanted], restored: list[str], removed: int, left: str
) -> None:
    due = restoration([one], good)
    assert [w.body["data"] for w in due.objects] == restored
    assert len(due.created) == removed
    assert bool(due.left) == bool(left)
    assert all(why.startswith(left) for _, why in due.left)


def test_what_was_not_touched_is_left_alone() -> None:
    assert restoration([], [a("ConfigMap"), a("Service")]).objects == ()


def applied(w: Wanted) -> dict[str, Any]:
    return {"metadata": {"name": w.ref.name, "uid": "1", "annotations": {APPLIED: w.digest}}}


@pytest.mark.parametrize(
    ("kind", "there", "good", "restored", "removed"),
    [
        ("Deployment", "new", ["old"], ["old"], 0),
        ("Deployment", "half", ["old"], ["old"], 0),
        ("Deployment", "old", ["old"], [], 0),
        ("Deployment", "new", [], [], 1),
        ("ConfigMap", "new", ["old"], ["old"], 0),
        ("ConfigMap", "new", [], [], 0),
        ("Secret", "new", [], [], 0),
        ("Job", "new", ["old"], [], 0),
        ("PersistentVolumeClaim", "new", [], [], 0),
    ],
    ids=[
        "as this deploy wants it", "as none wants it", "as the good one left it", "made by the unfinished one",
        "configuration", "hashed configuration", "secret", "job", "claim",
    ],
)  # fmt: skip
def test_what_an_unfinished_deploy_left_is_restored_too(
    kind: str, there: str, good: list[str], restored: list[str], removed: int
) -> None:
    one = step(kind, Action.KEEP, live=applied(a(kind, data=there)))
    before = [a(kind, data=data) for data in good]

    earlier = unfinished([one], [], before)

    due = restoration([], before, earlier)
    assert [w.body["data"] for w in due.objects] == restored
    assert len(due.created) == removed
    assert unfinished([one], [one], before) == []


def test_what_something_else_made_is_nothing_that_a_deploy_left() -> None:
    assert (
        unfinished([step("Service", Action.CHANGE, live=LIVE), step("Service", Action.CREATE)], [], []) == []
    )


def test_a_changed_secret_gets_its_values_back() -> None:
    metadata = {
        "name": "x", "namespace": "default", "uid": "1", "resourceVersion": "2", "managedFields": [{}],
        "labels": {"app": "lookit"}, "annotations": {APPLIED: "digest", "note": "kept"},
    }  # fmt: skip
    live = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "data": {"k": "b2xk"},
    }
    [restored] = restoration([step("Secret", Action.CHANGE, live=live)], []).objects
    assert restored.body == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "x",
            "namespace": "default",
            "labels": {"app": "lookit"},
            "annotations": {"note": "kept"},
        },
        "type": "Opaque",
        "data": {"k": "b2xk"},
    }


@pytest.mark.parametrize(
    ("action", "result", "counts"),
    [
        (Action.CHANGE, "ready", True),
        (Action.CHANGE, "applied", True),
        (Action.CHANGE, "failed", True),
        (Action.CHANGE, "being applied", True),
        (Action.CHANGE, "not reached", False),
        (Action.KEEP, "unchanged", False),
        (Action.SKIP, "ran before", False),
    ],
)
def test_whatever_may_have_been_written_counts_as_touched(action: Action, result: str, counts: bool) -> None:
    one, record = step("ConfigMap", action), Record("staging")
    record.plan("phase", [one])
    record.rows[one.ref].result = Result(result)
    assert bool(touched([one], record)) is counts


@pytest.mark.parametrize(
    ("status", "spared"), [({}, True), ({"conditions": [{"type": "Failed", "status": "True"}]}, False)]
)
def test_what_a_running_job_reads_is_spared(status: dict[str, Any], spared: bool) -> None:
    pod = {"containers": [{"name": "main", "envFrom": [{"configMapRef": {"name": "conf-1"}}]}]}
    job = {"spec": {"template": {"spec": pod}}, "status": status}
    steps = [step("ConfigMap", Action.CREATE, "conf-1"), step("ConfigMap", Action.CREATE, "conf-2")]
    due = restoration(steps, [], jobs=[job])
    assert [one.ref.name for one in due.created] == (["conf-2"] if spared else ["conf-1", "conf-2"])
    assert [ref.name for ref, _ in due.left] == (["conf-1"] if spared else [])


def test_an_object_keeps_its_identity_across_api_versions() -> None:
    old, new = (
        Wanted(Ref(f"autoscaling/{version}", "HorizontalPodAutoscaler", "default", "x"), {"data": version})
        for version in ("v1", "v2")
    )
    changed = Step(new, Action.CHANGE, "", {}, applied(old))

    assert unfinished([changed], [], [old]) == []
    due = restoration([changed], [old])
    assert (due.objects, due.created, due.left) == ((old,), (), ())
    again = restoration([], [old], [changed])
    assert (again.objects, again.created, again.left) == ((old,), (), ())


POD = {"spec": {"containers": [{"image": "a", "envFrom": [{"secretRef": {"name": "env-1"}}]}]}}


@pytest.mark.parametrize(
    "spec",
    [{"template": POD}, {"jobTemplate": {"spec": {"template": POD}}}],
    ids=["a workload", "a CronJob"],
)
def test_secrets_that_are_gone_stop_a_roll_back(spec: dict[str, Any]) -> None:
    objects, release = [body("Deployment", "web", spec=spec)], Release(1, {}, "")
    require_secrets({"env-1"}, objects, release)
    with pytest.raises(Failure) as caught:
        require_secrets(set(), objects, release)
    assert caught.value.why == "env-1"
