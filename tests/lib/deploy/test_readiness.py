from typing import Any

import pytest

from tasks.lib.deploy.readiness import Standing, State, job_outcome, standing, tally


def workload(kind: str, status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status}


def condition(kind: str, status: str, **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, **more}]}


def deployment(**status: Any) -> dict[str, Any]:
    return workload("Deployment", {"observedGeneration": 2, **status}, replicas=2)


def stateful_set(strategy: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    spec = {"updateStrategy": strategy} if strategy else {}
    return workload("StatefulSet", {"observedGeneration": 2, **status}, replicas=3, **spec)


def daemon_set(strategy: str = "RollingUpdate", **status: Any) -> dict[str, Any]:
    return workload("DaemonSet", {"observedGeneration": 2, **status}, updateStrategy={"type": strategy})


PARTITION = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
ONCE: Any = {"updateRevision": "b", "currentRevision": "a"}
SAME: Any = {"updateRevision": "b", "currentRevision": "b"}
LATE = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="too slow")


@pytest.mark.parametrize(
    ("thing", "state", "reason"),
    [
        (workload("Deployment", {"observedGeneration": 1}), State.WAITING, "not yet seen by the controller"),
        (workload("Deployment", {}), State.WAITING, "not yet seen by the controller"),
        (deployment(), State.WAITING, "0 of 2 updated"),
        (deployment(updatedReplicas=1), State.WAITING, "1 of 2 updated"),
        (deployment(updatedReplicas=2), State.WAITING, "0 of 2 available"),
        (deployment(updatedReplicas=2, replicas=3), State.WAITING, "1 old still ending"),
        (deployment(updatedReplicas=2, replicas=2, availableReplicas=1), State.WAITING, "1 of 2 available"),
        (deployment(updatedReplicas=2, replicas=2, availableReplicas=2), State.READY, "2/2"),
        (deployment(updatedReplicas=2, **LATE), State.FAILED, "too slow"),
        (
            workload("Deployment", {"observedGeneration": 2, "updatedReplicas": 0}),
            State.WAITING,
            "0 of 1 updated",
        ),
        (workload("Deployment", {"observedGeneration": 2}, replicas=0), State.READY, "0/0"),
        (workload("StatefulSet", {}, replicas=1), State.WAITING, "not yet seen by the controller"),
        (
            workload("StatefulSet", {"observedGeneration": 1, "readyReplicas": 1}, replicas=1),
            State.WAITING,
            "not yet seen by the controller",
        ),
        (stateful_set(), State.WAITING, "0 of 3 ready"),
        (stateful_set(readyReplicas=3, **ONCE), State.WAITING, "0 of 3 updated"),
        (stateful_set(readyReplicas=2), State.WAITING, "2 of 3 ready"),
        (stateful_set(readyReplicas=3, updatedReplicas=1, **ONCE), State.WAITING, "1 of 3 updated"),
        (stateful_set(readyReplicas=3, updatedReplicas=3, **SAME), State.READY, "3/3"),
        (
            stateful_set({"type": "OnDelete"}, readyReplicas=3, updatedReplicas=1, **ONCE),
            State.READY,
            "3/3, 2 as before until they are deleted (OnDelete)",
        ),
        (stateful_set({"type": "OnDelete"}, readyReplicas=3, updatedReplicas=3, **SAME), State.READY, "3/3"),
        (
            stateful_set(PARTITION, readyReplicas=3, updatedReplicas=1, **ONCE),
            State.WAITING,
            "1 of 2 updated",
        ),
        (stateful_set(PARTITION, readyReplicas=3, updatedReplicas=2, **ONCE), State.READY, "3/3"),
        (workload("DaemonSet", {}), State.WAITING, "not yet seen by the controller"),
        (daemon_set(), State.READY, "0/0"),
        (daemon_set(desiredNumberScheduled=1), State.WAITING, "0 of 1 updated"),
        (daemon_set(desiredNumberScheduled=1, updatedNumberScheduled=1), State.WAITING, "0 of 1 available"),
        (daemon_set(desiredNumberScheduled=2, updatedNumberScheduled=1), State.WAITING, "1 of 2 updated"),
        (
            daemon_set("OnDelete", desiredNumberScheduled=2, numberAvailable=1),
            State.WAITING,
            "1 of 2 available",
        ),
        (
            daemon_set(desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=2),
            State.READY,
            "2/2",
        ),
        (
            daemon_set("OnDelete", desiredNumberScheduled=2, numberAvailable=2),
            State.READY,
            "2/2, 2 as before until they are deleted (OnDelete)",
        ),
        (workload("Job", {}), State.WAITING, "running"),
        (workload("Job", {}, suspend=True), State.WAITING, "suspended"),
        (workload("Job", {"failed": 2}), State.WAITING, "running, 2 failed before"),
        (workload("Job", condition("Complete", "True")), State.READY, "complete"),
        (
            workload(
                "Job", condition("Failed", "True", reason="BackoffLimitExceeded", message="limit reached")
            ),
            State.FAILED,
            "BackoffLimitExceeded: limit reached",
        ),
        (workload("Job", condition("Failed", "True")), State.FAILED, "Failed"),
        (workload("CustomResourceDefinition", {}), State.WAITING, "not served yet"),
        (workload("CustomResourceDefinition", condition("Established", "True")), State.READY, "established"),
        (
            workload("CustomResourceDefinition", condition("NamesAccepted", "False", message="name taken")),
            State.FAILED,
            "name taken",
        ),
        (workload("ConfigMap", {}), State.READY, ""),
    ],
)
def test_a_workload_stands_as_kubectl_rollout_status_would_say(
    thing: dict[str, Any], state: State, reason: str
) -> None:
    assert standing(thing) == Standing(state, reason)


@pytest.mark.parametrize(
    ("conditions", "outcome"),
    [
        ([], ""),
        ([{"type": "Complete", "status": "False"}], ""),
        (
            [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}],
            "Complete",
        ),
        ([{"type": "FailureTarget", "status": "True"}, {"type": "Failed", "status": "True"}], "Failed"),
    ],
)
def test_a_job_has_an_outcome_once_its_condition_is_true(
    conditions: list[dict[str, str]], outcome: str
) -> None:
    assert job_outcome({"status": {"conditions": conditions}}) == outcome


@pytest.mark.parametrize(
    ("thing", "counted"),
    [
        (deployment(availableReplicas=1), "1/2"),
        (deployment(), "0/2"),
        (stateful_set(readyReplicas=2), "2/3"),
        (stateful_set(), "0/3"),
        (daemon_set(desiredNumberScheduled=4, numberAvailable=3), "3/4"),
        (daemon_set(), "0/0"),
        (workload("Job", {"succeeded": 1}, completions=2), "1/2"),
        (workload("Job", {}), "0/1"),
        ({"kind": "Job", "metadata": {}}, "0/1"),
        (workload("Service", {}), ""),
    ],
)
def test_replicas_are_counted_as_each_kind_counts_them(thing: dict[str, Any], counted: str) -> None:
    assert tally(thing) == counted
