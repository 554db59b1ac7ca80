import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.objects import APPLIED, RAN, Ref, Wanted, annotated, job_fingerprint
from tasks.lib.deploy.plan.decide import corrected, decide, observe
from tasks.lib.deploy.plan.field_managers import LABEL
from tasks.lib.deploy.steps import Action, Step
from tests.lib.cluster.scripted import Answer, scripted, status

CONFIG = Wanted(
    Ref("v1", "ConfigMap", "default", "conf"),
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"DEBUG": ""}},
)
JOB = Wanted(
    Ref("batch/v1", "Job", "default", "migration"),
    {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migration", "labels": {"version": "1"}},
        "spec": {
            "template": {
                "spec": {"containers": [{"image": "x:1", "envFrom": [{"configMapRef": {"name": "conf"}}]}]}
            }
        },
    },
)
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}
FAILED = {"conditions": [{"type": "Failed", "status": "True"}]}
# Its pods still end.
FAILING = {"conditions": [{"type": "FailureTarget", "status": "True"}]}


def live(w: Wanted, annotations: dict[str, str], **changes: Any) -> dict[str, Any]:
    return {**annotated(w.body, annotations), **changes}


def only(
    wanted: Wanted, there: dict[str, Any] | None, *, run_jobs: bool = False, others: tuple[Wanted, ...] = ()
) -> Step:
    found = {wanted.ref: there} if there else {}
    return decide([wanted, *others], found, run_jobs=run_jobs)[0]


@pytest.mark.parametrize(
    ("there", "action", "reason"),
    [
        (None, Action.CREATE, ""),
        (live(CONFIG, {}), Action.CHANGE, "not yet managed by this tool"),
        (live(CONFIG, {APPLIED: "another"}), Action.CHANGE, ""),
        (live(CONFIG, {APPLIED: CONFIG.digest}), Action.KEEP, ""),
        (live(CONFIG, {APPLIED: CONFIG.digest}, data={"DEBUG": "", "added": "by others"}), Action.KEEP, ""),
        (live(CONFIG, {APPLIED: CONFIG.digest}, data={"DEBUG": "1"}), Action.CHANGE, "changed outside this tool"),
        (live(CONFIG, {APPLIED: CONFIG.digest}, data={}), Action.CHANGE, "changed outside this tool"),
    ],
    ids=["absent", "foreign", "other content", "same", "more than ours", "drifted", "key removed"],
)  # fmt: skip
def test_an_object_is_written_only_where_it_differs(
    there: dict[str, Any] | None, action: Action, reason: str
) -> None:
    step = only(CONFIG, there)
    assert (step.action, step.reason) == (action, reason)
    assert step.body["metadata"]["annotations"] == {APPLIED: CONFIG.digest}


def test_an_object_that_is_being_deleted_is_recreated() -> None:
    there = live(CONFIG, {APPLIED: CONFIG.digest})
    there["metadata"]["deletionTimestamp"] = "now"

    step = only(CONFIG, there)

    assert (step.action, step.reason) == (Action.RECREATE, "it is being deleted")


def job(status: dict[str, Any], ran: str = "") -> dict[str, Any]:
    return live(JOB, {RAN: ran or job_fingerprint(JOB.body, [JOB, CONFIG])}, status=status)


STILL_RUNNING = "its image or configuration changed; the previous run is still running: waiting for it"
RUNNING_OTHER = job({}, ran="before")
SUSPENDED_OTHER = {**RUNNING_OTHER, "spec": {**RUNNING_OTHER["spec"], "suspend": True}}
DELETING_OTHER = {**RUNNING_OTHER, "metadata": {**RUNNING_OTHER["metadata"], "deletionTimestamp": "now"}}
DELETING = {**job(COMPLETE), "metadata": {**job(COMPLETE)["metadata"], "deletionTimestamp": "now"}}


@pytest.mark.parametrize(
    ("there", "run_jobs", "action", "reason"),
    [
        (None, False, Action.RUN, "does not exist yet"),
        (job(COMPLETE, ran="before"), False, Action.RUN, "its image or configuration changed"),
        (job({"active": 1}, ran="before"), False, Action.RUN, STILL_RUNNING),
        (job({}, ran="before"), True, Action.RUN, STILL_RUNNING),
        (job(COMPLETE), False, Action.SKIP, "ran already with this image and configuration"),
        (job(COMPLETE), True, Action.RUN, "requested with --jobs"),
        (job(FAILED), False, Action.RUN, "the previous run failed"),
        (job(FAILING), False, Action.RUN, "the previous run failed; waiting for its pods to end"),
        (job({}), False, Action.AWAIT, "it is still running"),
        (job({}), True, Action.AWAIT, "it is still running"),
        (SUSPENDED_OTHER, False, Action.RUN, "its image or configuration changed"),
        (DELETING_OTHER, False, Action.RUN, "its image or configuration changed"),
        (DELETING, False, Action.RUN, "the previous run is being deleted"),
    ],
)
def test_a_job_runs_only_where_it_is_due(
    there: dict[str, Any] | None, run_jobs: bool, action: Action, reason: str
) -> None:
    step = only(JOB, there, run_jobs=run_jobs, others=(CONFIG,))
    assert (step.action, step.reason) == (action, reason)


def test_a_job_runs_again_when_its_configuration_changes() -> None:
    changed = Wanted(CONFIG.ref, {**CONFIG.body, "data": {"DEBUG": "1"}})
    assert only(JOB, job(COMPLETE), others=(changed,)).action is Action.RUN


def test_a_new_version_label_alone_runs_no_job() -> None:
    relabelled = Wanted(JOB.ref, {**JOB.body, "metadata": {"name": "migration", "labels": {"version": "2"}}})
    assert only(relabelled, job(COMPLETE), others=(CONFIG,)).action is Action.SKIP


@pytest.mark.parametrize("action", list(Action))
def test_only_actions_that_change_the_cluster_count_as_writes(action: Action) -> None:
    step = Step(CONFIG, action, "", {})
    assert step.writes is (action.value in {"create", "change", "recreate", "run", "delete"})


MAPS = Kind("v1", "ConfigMap", "configmaps", namespaced=True)
MAPS_PATH = "/api/v1/namespaces/default/configmaps"


def named(name: str, owner: str = "") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "labels": {LABEL: owner} if owner else {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def observed(folder: Path, wanted: str, owner: str, *answers: Any) -> tuple[set[str], list[str]]:
    """Names of the ConfigMaps that are found when those called by a letter of `wanted` are; what was asked."""
    with scripted(folder) as server:
        server.answers = [
            Answer(body=json.dumps(answer).encode()) if answer else ABSENT for answer in answers
        ]
        objects = [Wanted(Ref("v1", "ConfigMap", "default", name), named(name)) for name in wanted]
        found = observe(server.api(), {("v1", "ConfigMap"): MAPS}, objects, owner)
    assert all(found[ref]["metadata"]["name"] == ref.name for ref in found)
    return {ref.name for ref in found}, [asked.path for asked in server.asked]


ABSENT = status(404, "NotFound", "no")


def listed(*things: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7"}, "items": list(things)}


def test_a_few_objects_are_read_by_name(tmp_path: Path) -> None:
    assert observed(tmp_path, "a", "", named("a")) == ({"a"}, [f"{MAPS_PATH}/a"])


def test_an_object_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert observed(tmp_path, "a", "", None) == (set(), [f"{MAPS_PATH}/a"])


def test_a_few_objects_without_our_label_are_read_by_name(tmp_path: Path) -> None:
    ours = listed(named("a", "staging"), named("old", "staging"))

    found, asked = observed(tmp_path, "ab", "staging", ours, named("b"))

    assert found == {"a", "b", "old"}
    assert [path.partition("?")[0] for path in asked] == [MAPS_PATH, f"{MAPS_PATH}/b"]
    assert f"labelSelector={quote(LABEL, safe='')}%3Dstaging" in asked[0]


def test_of_many_the_whole_list_is_read_once(tmp_path: Path) -> None:
    there = listed(named("a"), named("b", "production"), named("old", "staging"), named("stranger", "other"))

    found, asked = observed(tmp_path, "abc", "staging", there)

    assert found == {"a", "b", "old"}
    assert len(asked) == 1
    assert "labelSelector" not in asked[0]


def test_without_an_owner_nobody_else_s_objects_are_taken(tmp_path: Path) -> None:
    assert observed(tmp_path, "abc", "", listed(named("a"), named("stranger")))[0] == {"a"}


@pytest.mark.parametrize(
    ("result", "action"),
    [
        ({"metadata": {"name": "conf", "resourceVersion": "2", "generation": 5}, "data": {"DEBUG": ""}}, Action.KEEP),
        ({"metadata": {"name": "conf", "resourceVersion": "1"}, "data": {"DEBUG": "1"}}, Action.CHANGE),
        ({"metadata": {"name": "conf", "labels": {"new": "1"}}, "data": {"DEBUG": ""}}, Action.CHANGE),
    ],
    ids=["the server counted", "other content", "another label"],
)  # fmt: skip
def test_a_change_that_changes_nothing_is_none(result: dict[str, Any], action: Action) -> None:
    there = {"metadata": {"name": "conf", "resourceVersion": "1"}, "data": {"DEBUG": ""}}
    step = Step(CONFIG, Action.CHANGE, "drifted", CONFIG.body, there)

    assert corrected(step, result).action is action
