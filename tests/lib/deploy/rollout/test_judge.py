"""What is decided about an object that a deploy waits for."""

from typing import Any

import pytest

from tasks.lib.cluster.api import FIELD_MANAGER
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.rollout import judge as module
from tasks.lib.deploy.rollout.cluster_view import View
from tasks.lib.deploy.rollout.judge import Outcome, Target, Verdict, judge, target_of
from tasks.lib.deploy.steps import Action, Step
from tests.clock import Clock

Thing = dict[str, Any]
MIGRATION = Ref("batch/v1", "Job", "default", "migration")
RUNNING = {"state": {"running": {"startedAt": "x"}}}
UNMADE = {"state": {"waiting": {"reason": "CreateContainerError", "message": "no room"}}}  # may last 15 s
SLOW = {"state": {"waiting": {"reason": "ErrImagePull", "message": "i/o timeout"}}}  # may last 45 s
SAID = "pod migration-x, container c0: CreateContainerError: the node cannot create the container (no room)"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def job(*conditions: Thing) -> Thing:
    metadata = {"name": "migration", "namespace": "default", "uid": "u"}
    status = {"active": 1, "startTime": "x", "conditions": list(conditions)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}, "status": status}


def condition(name: str, **more: str) -> Thing:
    return {"type": name, "status": "True", **more}


def pod(*containers: Thing) -> Thing:
    owner = {"uid": "u", "controller": True}
    statuses = [{"name": f"c{number}", **one} for number, one in enumerate(containers)]
    metadata = {"name": "migration-x", "namespace": "default", "uid": "p", "ownerReferences": [owner]}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []},
        "status": {"containerStatuses": statuses},
    }  # fmt: skip


def target(**more: Any) -> Target:
    return Target(MIGRATION, "u", 0, **{"since": "2026-01-01T00:00:00", **more})


def judged(about: Target, *pods: Thing, live: Thing | None = None, **limits: float) -> Verdict:
    view, shown = View(), live or job()
    for one in (shown, *pods):
        view.put(one)
    return judge(about, shown, view, limits)


@pytest.mark.parametrize(
    ("live", "outcome", "reason"),
    [
        (job(condition("Complete")), Outcome.DONE, "complete"),
        (job(condition("Failed", reason="DeadlineExceeded")), Outcome.FAILED, "DeadlineExceeded"),
        (job(), Outcome.WAITING, "running"),
    ],
    ids=["complete", "failed", "running"],
)
def test_an_object_is_judged_by_its_own_state(live: Thing, outcome: Outcome, reason: str) -> None:
    verdict = judged(target(), live=live)

    assert (verdict.outcome, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        (target(since=""), "started by an earlier deploy: running"),
        (target(is_replaced=True), "waiting for the previous run to end: running"),
    ],
    ids=["an earlier run that is kept", "an earlier run that is replaced"],
)
def test_a_job_of_an_earlier_deploy_is_told_as_such(about: Target, reason: str) -> None:
    assert judged(about).reason == reason


def test_what_a_step_wrote_is_waited_for_in_that_state() -> None:
    entry = {"manager": FIELD_MANAGER, "time": "2026-01-01T00:00:07Z"}
    live = job()
    live["metadata"] |= {"generation": 3, "managedFields": [entry]}
    step = Step(Wanted(MIGRATION, {}), Action.RUN, "", {}, live)

    assert target_of(step, live) == Target(MIGRATION, "u", 3, "2026-01-01T00:00:07")
    assert target_of(step.with_action(Action.AWAIT, ""), live) == Target(MIGRATION, "u", 3)
    assert target_of(step, job()) == Target(MIGRATION, "u", 0)


def test_a_problem_fails_a_deploy_once_it_has_lasted(clock: Clock) -> None:
    about = target()

    first = judged(about, pod(UNMADE))
    assert (first.outcome, first.reason) == (Outcome.WAITING, f"running; {SAID}")
    clock.sleep(14)
    assert judged(about, pod(UNMADE)).outcome is Outcome.WAITING
    clock.sleep(1)
    last = judged(about, pod(UNMADE))
    assert (last.outcome, last.reason) == (Outcome.FAILED, "running")
    assert [str(problem) for problem, _ in last.problems] == [SAID]


def test_only_what_has_lasted_is_said_to_have_failed_it(clock: Clock) -> None:
    about = target()
    judged(about, pod(UNMADE, SLOW))
    clock.sleep(15)

    assert [problem.reason for problem, _ in judged(about, pod(UNMADE, SLOW)).problems] == [
        "CreateContainerError"
    ]


def test_a_problem_that_passes_and_returns_has_its_time_again(clock: Clock) -> None:
    about = target()
    judged(about, pod(UNMADE))
    clock.sleep(10)
    judged(about, pod(RUNNING))
    clock.sleep(10)

    assert judged(about, pod(UNMADE)).outcome is Outcome.WAITING


def test_a_problem_of_a_replaced_run_is_only_reported(clock: Clock) -> None:
    about = target(is_replaced=True)
    judged(about, pod(RUNNING, UNMADE))
    clock.sleep(60)

    assert judged(about, pod(RUNNING, UNMADE)).outcome is Outcome.WAITING


def test_a_run_that_is_replaced_is_done_when_it_fails() -> None:
    verdict = judged(target(is_replaced=True), live=job(condition("Failed")))

    assert (verdict.outcome, verdict.reason) == (Outcome.DONE, "the previous run has ended (Failed)")


@pytest.mark.parametrize(("seconds", "outcome"), [(4, Outcome.WAITING), (5, Outcome.FAILED)])
def test_a_limit_of_the_settings_wins_over_the_rule(clock: Clock, seconds: float, outcome: Outcome) -> None:
    about, unscheduled = target(), pod()
    unscheduled["status"] = {
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "2 Insufficient cpu"}],
    }  # fmt: skip
    judged(about, unscheduled, scheduling=5)
    clock.sleep(seconds)

    assert judged(about, unscheduled, scheduling=5).outcome is outcome


@pytest.mark.parametrize(("seconds", "stuck"), [(14, []), (15, ["queue-0"])])
def test_broken_pods_of_an_earlier_state_time_out(clock: Clock, seconds: float, stuck: list[str]) -> None:
    queue = {
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "queue", "namespace": "default", "uid": "u", "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "currentRevision": "queue-1", "updateRevision": "queue-2"},
    }  # fmt: skip
    earlier = pod(SLOW)
    earlier["metadata"] |= {"name": "queue-0", "labels": {"controller-revision-hash": "queue-1"}}
    about = Target(Ref("apps/v1", "StatefulSet", "default", "queue"), "u", 1, "2026-01-01T00:00:00")
    judged(about, earlier, live=queue)
    clock.sleep(seconds)

    verdict = judged(about, earlier, live=queue)

    assert verdict.outcome is Outcome.WAITING
    assert [one["metadata"]["name"] for one in verdict.stuck] == stuck
