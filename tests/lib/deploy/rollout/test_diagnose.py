"""Reading problems out of objects as the API shows them."""

from typing import Any

import pytest

from tasks.lib.deploy.rollout.diagnose import (
    claims_of,
    container_to_blame,
    lacks_pods,
    of_claim,
    of_pod,
    of_workload,
)
from tasks.lib.deploy.rollout.failure_rules import NEVER
from tasks.lib.deploy.rollout.judge import last_write
from tasks.lib.deploy.rollout.logs import evidence

Thing = dict[str, Any]


def pod(*statuses: Thing, init: list[Thing] | None = None, **status: Any) -> Thing:
    return {
        "kind": "Pod",
        "metadata": {"name": "web-1", "creationTimestamp": "2026-01-01T00:00:10Z"},
        "spec": {"containers": [{"name": "uwsgi"}]},
        "status": {"containerStatuses": list(statuses), "initContainerStatuses": init or [], **status},
    }


def waiting(reason: str, message: str = "", name: str = "uwsgi", **more: Any) -> Thing:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def running(*, ready: bool, name: str = "uwsgi", **more: Any) -> Thing:
    return {"name": name, "ready": ready, "state": {"running": {}}, **more}


def ended(code: int, reason: str = "Error") -> Thing:
    return {"terminated": {"exitCode": code, "reason": reason}}


def event(reason: str, message: str = "", path: str = "", at: str = "2026-01-01T00:00:20Z") -> Thing:
    about = {"uid": "u", **({"fieldPath": path} if path else {})}
    return {
        "metadata": {"uid": f"event {reason}"}, "reason": reason, "message": message, "lastTimestamp": at,
        "involvedObject": about,
    }  # fmt: skip


def said(thing: Thing, *warnings: Thing) -> list[str]:
    return [f"{t.container or t.kind}: {t.reason}" for t in of_pod(thing, warnings)]


@pytest.mark.parametrize(
    "healthy",
    [
        pod(),
        pod(running(ready=True)),
        pod(running(ready=True, lastState=ended(1))),
        pod(waiting("ContainerCreating")),
        pod(waiting("PodInitializing"), init=[running(ready=False, name="wait")]),
        pod(waiting("PodInitializing"), init=[{"name": "wait", "ready": True, "state": ended(0)}]),
        {"kind": "Pod", "metadata": {"name": "new"}, "spec": {"containers": []}},
    ],
    ids=[
        "nothing known", "running", "well again", "being created", "init containers run", "they are done",
        "no status yet",
    ],
)  # fmt: skip
def test_a_pod_that_is_starting_has_no_problem(healthy: Thing) -> None:
    assert of_pod(healthy) == []


def test_a_pod_that_is_being_deleted_is_not_judged() -> None:
    ending = pod(waiting("CrashLoopBackOff"))
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert of_pod(ending) == []


def test_the_worst_problem_comes_first() -> None:
    found = of_pod(
        pod(
            waiting("CreateContainerError", "slow"),
            waiting("CrashLoopBackOff", "back-off 20s", "sidecar", lastState=ended(137, "OOMKilled")),
        )
    )
    assert [t.reason for t in found] == ["CrashLoopBackOff", "CreateContainerError"]
    assert str(found[0]) == (
        "pod web-1, container sidecar: CrashLoopBackOff: the container ended twice or more and is restarted "
        "ever more slowly; exit code 137 (OOMKilled) (back-off 20s)"
    )


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"name": "wait", "state": ended(1)}, "Error"),
        ({"name": "wait", "state": ended(128, "StartError")}, "Error"),
        (running(ready=False, name="wait", lastState=ended(137, "OOMKilled")), "OOMKilled"),
        (waiting("CrashLoopBackOff", name="wait", lastState=ended(1)), "CrashLoopBackOff"),
    ],
    ids=["failed once", "could not start", "runs again", "given up"],
)
def test_a_failing_init_container_is_named(status: Thing, reason: str) -> None:
    assert said(pod(waiting("PodInitializing"), init=[status])) == [f"init container wait: {reason}"]


def test_a_container_that_never_started_shows_the_runtimes_reason() -> None:
    failed = {"exitCode": 128, "reason": "StartError", "message": 'failed to start: exec: "uwsgi": not found'}
    (found,) = of_pod(pod(waiting("CrashLoopBackOff", "back-off 10s", lastState={"terminated": failed})))
    assert (
        found.meaning == "the container cannot be started: wrong command or mount; exit code 128 (StartError)"
    )
    assert found.message == failed["message"]


def test_an_evicted_pod_shows_why_and_not_how_its_containers_ended() -> None:
    lost = {"name": "uwsgi", "ready": False, "state": ended(137, "ContainerStatusUnknown")}
    (found,) = of_pod(pod(lost, phase="Failed", reason="Evicted", message="… exceeds the limit … "))
    assert (found.reason, found.message, found.container) == ("Evicted", "… exceeds the limit …", "")


def test_an_unschedulable_pod_shows_the_schedulers_reason() -> None:
    lacking = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    (found,) = of_pod(pod(conditions=[lacking]))
    assert (found.reason, found.message, found.limit) == ("Unschedulable", "0/2 nodes", "scheduling")


UNHEALTHY = event("Unhealthy", "Readiness probe failed", "spec.containers{uwsgi}")


@pytest.mark.parametrize(
    ("thing", "warning", "told"),
    [
        (pod(running(ready=False)), UNHEALTHY, ["container uwsgi: Unhealthy"]),
        (pod(running(ready=False)), event("Unhealthy"), ["Pod: Unhealthy"]),
        (pod(running(ready=True)), UNHEALTHY, []),
        (pod(running(ready=True), running(ready=False, name="side")), UNHEALTHY, []),
        (pod(waiting("ContainerCreating")), event("FailedMount", 'secret "x" not found'), ["Pod: FailedMount"]),
        (pod(waiting("ContainerCreating")), event("FailedAttachVolume"), ["Pod: FailedAttachVolume"]),
        (pod(running(ready=True)), event("FailedMount", 'secret "x" not found'), []),
        (pod(waiting("ContainerCreating")), event("Unheard"), []),
    ],
    ids=[
        "probe fails", "container not said", "passes now", "another one is unready", "volume misses a secret",
        "disk is held", "mounted now", "no rule",
    ],
)  # fmt: skip
def test_a_warning_counts_while_the_pods_state_confirms_it(
    thing: Thing, warning: Thing, told: list[str]
) -> None:
    assert said(thing, warning) == told


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            'Startup probe failed: Traceback (most recent call last):\n  File "a.py"\n    ^^^\n'
            "kombu.exceptions.OperationalError: [Errno 111] Connection refused\n",
            "Startup probe failed: … kombu.exceptions.OperationalError: [Errno 111] Connection refused",
        ),
        ("Readiness probe failed: no answer\n", "Readiness probe failed: no answer\n"),
    ],
    ids=["traceback", "one line"],
)
def test_of_a_long_probe_the_last_line_is_told(message: str, told: str) -> None:
    (found,) = of_pod(pod(running(ready=False)), [event("Unhealthy", message)])
    assert found.message == told


@pytest.mark.parametrize(
    ("statuses", "container"),
    [
        ([], "uwsgi"),
        ([{"name": "side", "state": ended(1)}], "side"),
        ([running(ready=False, name="side", lastState=ended(2))], "side"),
        ([waiting("CrashLoopBackOff", name="side")], "side"),
        ([{"name": "side", "state": ended(0)}], "uwsgi"),
    ],
)
def test_the_log_shown_is_that_of_the_container_to_blame(statuses: list[Thing], container: str) -> None:
    assert container_to_blame(pod(*statuses)) == container


def claim(phase: str = "Pending", **spec: Any) -> Thing:
    kind = "PersistentVolumeClaim"
    return {"kind": kind, "metadata": {"name": "data"}, "spec": spec, "status": {"phase": phase}}


NO_CLASS = event("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')


@pytest.mark.parametrize(
    ("thing", "warnings", "told"),
    [
        (claim(storageClassName="fast"), [NO_CLASS], [("ProvisioningFailed", 0)]),
        (claim(storageClassName="fast"), [], []),
        (claim("Bound", storageClassName="fast"), [NO_CLASS], []),
        (claim(), [], [("FailedBinding", 120)]),
        (claim(storageClassName="", volumeName="disk"), [], []),
    ],
    ids=["no such class", "waits for its pod", "bound since", "no class, no volume", "bound by hand"],
)
def test_a_claim_without_a_volume(thing: Thing, warnings: list[Thing], told: list[tuple[str, float]]) -> None:
    assert [(t.reason, t.patience) for t in of_claim(thing, warnings, warnings)] == told


def test_an_older_warning_is_told_but_does_not_count() -> None:
    (found,) = of_claim(claim(storageClassName="fast"), [NO_CLASS], [])
    assert (found.reason, found.patience) == ("ProvisioningFailed", NEVER)


def workload(kind: str, *conditions: Thing, replicas: int | None = 1, **status: Any) -> Thing:
    spec = {} if replicas is None else {"replicas": replicas}
    return {
        "kind": kind, "metadata": {"name": "web"}, "spec": spec,
        "status": {"conditions": list(conditions), **status},
    }  # fmt: skip


def condition(name: str, reason: str, message: str = "", status: str = "True") -> Thing:
    return {"type": name, "status": status, "reason": reason, "message": message}


def test_a_replica_set_says_why_its_pods_cannot_be_created() -> None:
    refused = condition("ReplicaFailure", "FailedCreate", 'pods "x" is forbidden: exceeded quota: few')
    well = workload("ReplicaSet")
    found = of_workload(workload("Deployment"), [well, workload("ReplicaSet", refused)], [], [], [])
    assert [(t.kind, t.reason, t.patience) for t in found] == [("ReplicaSet", "FailedCreate", 30)]


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (workload("Job", condition("Failed", "BackoffLimitExceeded")), "BackoffLimitExceeded"),
        (workload("Job", condition("FailureTarget", "DeadlineExceeded")), "DeadlineExceeded"),
        (
            workload("Deployment", condition("Progressing", "ProgressDeadlineExceeded", status="False")),
            "ProgressDeadlineExceeded",
        ),
        (workload("Deployment", condition("Progressing", "NewReplicaSetAvailable")), None),
        ({**workload("Deployment"), "spec": {"paused": True}}, "Paused"),
    ],
    ids=["back-off", "deadline", "no progress", "progress", "paused"],
)
def test_a_failed_workload_says_why(thing: Thing, reason: str | None) -> None:
    found = of_workload(thing, [], [pod()], [], [])
    assert [(t.reason, t.patience) for t in found] == ([(reason, 0)] if reason else [])


def test_a_suspended_job_has_the_scheduling_limit() -> None:
    found = of_workload({**workload("Job"), "spec": {"suspend": True}}, [], [], [], [])
    assert [(t.reason, t.patience, t.limit) for t in found] == [("Suspended", 300, "scheduling")]


REFUSED = event("FailedCreate", "denied the request", at="2026-01-01T00:00:20Z")
ANSWERED = event("FailedCreate", "denied the request", at="2026-01-01T00:00:05Z")


@pytest.mark.parametrize(
    ("thing", "pods", "warning", "told"),
    [
        (workload("StatefulSet", replicas=2), [pod()], REFUSED, ["FailedCreate"]),
        (workload("StatefulSet", replicas=None), [], REFUSED, ["FailedCreate"]),
        (workload("StatefulSet", replicas=1), [pod()], REFUSED, []),
        (workload("StatefulSet", replicas=2), [pod()], ANSWERED, []),
        (workload("Job"), [], REFUSED, ["FailedCreate"]),
        (workload("Job", active=1), [pod()], REFUSED, []),
        ({**workload("Job", succeeded=1), "spec": {"completions": 3}}, [pod()], REFUSED, ["FailedCreate"]),
        ({**workload("Job", succeeded=3), "spec": {"completions": 3}}, [pod()], REFUSED, []),
        (workload("DaemonSet", desiredNumberScheduled=2), [pod()], REFUSED, ["FailedCreate"]),
        (workload("Deployment"), [], REFUSED, []),
    ],
    ids=[
        "a pod is missing", "its only pod is missing", "all pods are there", "a pod was created since",
        "a Job's pod is missing", "a Job's pod runs", "a Job's next pod is missing",
        "a Job's pods have ended", "a node's pod is missing", "left to its ReplicaSet",
    ],
)  # fmt: skip
def test_pods_that_cannot_be_created_are_told_by_warnings(
    thing: Thing, pods: list[Thing], warning: Thing, told: list[str]
) -> None:
    assert [t.reason for t in of_workload(thing, [], pods, [warning], [warning])] == told


def test_kinds_that_make_no_pods_lack_none() -> None:
    assert not lacks_pods(workload("CustomResourceDefinition"), [])


def test_the_claims_of_a_pod_are_those_that_it_mounts() -> None:
    volumes = [{"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "b", "emptyDir": {}}]
    assert claims_of({"spec": {"volumes": volumes}}) == {"data"}


def test_the_last_own_write_is_told_by_the_servers_clock() -> None:
    entries = [
        {"manager": "lookit-orchestrator", "time": "2026-01-01T00:00:01Z"},
        {"manager": "lookit-orchestrator", "time": "2026-01-01T00:00:02Z"},
        {"manager": "kube-controller-manager", "time": "2026-01-01T00:00:03Z"},
    ]
    assert last_write({"metadata": {"managedFields": entries}}) == "2026-01-01T00:00:02"
    assert last_write({"metadata": {}}) == ""


def test_log_lines_and_events_stay_single_lines() -> None:
    forged = "x\x0b\u2028\x85\nevents:"
    assert evidence("web", "main", [forged], [forged]) == [
        "last lines of web, container main:", "  x  events:", "events:", "  x  events:",
    ]  # fmt: skip
