"""Jobs of earlier deploys: which are waited for, which are replaced, which count as stuck."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.rollout.awaited import stuck_jobs
from tasks.lib.deploy.rollout.cluster_view import View
from tasks.lib.deploy.rollout.judge import end_of_previous_run, previous_run
from tasks.lib.deploy.steps import Action, Step
from tests.lib.cluster.scripted import Answer, scripted

MIGRATION = Ref("batch/v1", "Job", "default", "migration")
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}
FAILED = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
RUNNING = {"state": {"running": {"startedAt": "x"}}}
NO_IMAGE = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
CREATING = {"state": {"waiting": {"reason": "ContainerCreating"}}}
CRASHED = {**NO_IMAGE, "restartCount": 1}


def job(began: str = "2026-01-01T00:00:00Z", **status: Any) -> dict[str, Any]:
    metadata = {"name": "migration", "namespace": "default", "uid": "u", "creationTimestamp": began}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {},
        "status": {"startTime": began, **status},
    }  # fmt: skip


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    owner = {"uid": "u", "controller": True}
    statuses = [{"name": f"c{number}", **one} for number, one in enumerate(containers)]
    metadata = {"name": "migration-x", "namespace": "default", "uid": "p", "ownerReferences": [owner]}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []},
        "status": {"containerStatuses": statuses},
    }  # fmt: skip


def step(live: dict[str, Any] | None, action: Action = Action.RUN) -> Step:
    return Step(Wanted(MIGRATION, {}), action, "", {}, live)


@pytest.mark.parametrize(
    ("status", "pods", "said"),
    [
        ({"active": 1}, [], ""),
        ({"active": 1}, [pod(RUNNING)], ""),
        ({"active": 1}, [pod(CREATING)], ""),
        ({"active": 1}, [pod(NO_IMAGE)], "the previous run cannot start (ErrImagePull), so it is replaced"),
        ({"active": 2}, [pod(NO_IMAGE)], ""),
        ({"active": 1}, [pod(RUNNING, NO_IMAGE)], ""),
        ({"active": 1}, [pod(CRASHED)], ""),
        ({"active": 1, "failed": 1}, [pod(NO_IMAGE)], ""),
        (COMPLETE, [], "the previous run has ended (complete)"),
        (FAILED, [], "the previous run has ended (BackoffLimitExceeded)"),
    ],
    ids=[
        "its pod is not known yet", "it runs", "it starts", "it cannot start", "one of its pods is not known",
        "one container runs", "it restarts", "a pod of it ran", "complete", "failed",
    ],
)  # fmt: skip
def test_a_run_is_replaced_only_once_it_changes_nothing(
    status: dict[str, Any], pods: list[dict[str, Any]], said: str
) -> None:
    view, live = View(), job(**status)
    for one in (live, *pods):
        view.put(one)

    assert end_of_previous_run(live, view) == said


NOW = datetime.datetime.now(datetime.UTC)
HOURS_AGO = (NOW - datetime.timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
JUST_NOW = (NOW + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("live", "containers", "stuck"),
    [
        (job(HOURS_AGO, active=1), [RUNNING], True),
        (job(HOURS_AGO, active=1), [CRASHED], True),
        (job(HOURS_AGO, active=1), [NO_IMAGE], False),
        (job(JUST_NOW, active=1), [RUNNING], False),
        (job(HOURS_AGO, **COMPLETE), [RUNNING], False),
        ({**job(HOURS_AGO, failed=1), "spec": {"suspend": True}}, [], False),
        (None, [], False),
    ],
    ids=[
        "runs for hours",
        "crashes for hours",
        "never started",
        "runs for a moment",
        "has ended",
        "is suspended",
        "is new",
    ],
)
@pytest.mark.parametrize("action", [Action.RUN, Action.AWAIT])
def test_a_timed_out_job_names_the_fix(
    tmp_path: Path,
    live: dict[str, Any] | None,
    containers: list[dict[str, Any]],
    stuck: bool,
    action: Action,
) -> None:
    listed = {"metadata": {"resourceVersion": "1"}, "items": [pod(*containers)]}
    with scripted(tmp_path) as server:
        server.answers = [Answer(body=json.dumps(listed).encode())]

        problems = stuck_jobs(server.api(), [step(live, action)], 900)

    assert bool(problems) is stuck
    assert all("ago, longer than time_limits.job (15 min 00 s)." in one for one in problems)
    assert all("`kubectl -n default delete job migration`" in one for one in problems)


def test_a_deleted_or_suspended_job_is_not_waited_for() -> None:
    dying = job(active=1)
    dying["metadata"]["deletionTimestamp"] = "now"

    assert previous_run(step(dying)) is None
    assert previous_run(step({**job(), "spec": {"suspend": True}})) is None
    target = previous_run(step(job(active=1)))
    assert target is not None
    assert target.is_replaced
