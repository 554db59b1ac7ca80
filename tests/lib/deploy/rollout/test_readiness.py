from typing import Any

import pytest

from tasks.lib.deploy.rollout.readiness import Readiness, State, job_outcome, readiness, still_runs, tally

GROUPS = {
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "APIService": "apiregistration.k8s.io/v1",
    "Ingress": "networking.k8s.io/v1",
    "Certificate": "cert-manager.io/v1",
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"), "apps/v1"),
}


def workload(kind: str, status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    version = GROUPS.get(kind, "v1")
    return {
        "apiVersion": version, "kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status
    }  # fmt: skip


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
        (
            workload("Deployment", {"observedGeneration": 1}),
            State.WAITING,
            "not yet observed by the controller",
        ),
        (workload("Deployment", {}), State.WAITING, "not yet observed by the controller"),
        (deployment(), State.WAITING, "0 of 2 updated"),
        (deployment(updatedReplicas=1), State.WAITING, "1 of 2 updated"),
        (deployment(updatedReplicas=2), State.WAITING, "0 of 2 available"),
        (deployment(updatedReplicas=2, replicas=3), State.WAITING, "1 old pods terminating"),
        (deployment(updatedReplicas=2, replicas=2, availableReplicas=1), State.WAITING, "1 of 2 available"),
        (deployment(updatedReplicas=2, replicas=2, availableReplicas=2), State.READY, "2/2"),
        (deployment(updatedReplicas=2, **LATE), State.FAILED, "too slow"),
        (
            workload("Deployment", {"observedGeneration": 2, "updatedReplicas": 0}),
            State.WAITING,
            "0 of 1 updated",
        ),
        (workload("Deployment", {"observedGeneration": 2}, replicas=0), State.READY, "0/0"),
        (workload("StatefulSet", {}, replicas=1), State.WAITING, "not yet observed by the controller"),
        (
            workload("StatefulSet", {"observedGeneration": 1, "readyReplicas": 1}, replicas=1),
            State.WAITING,
            "not yet observed by the controller",
        ),
        (stateful_set(), State.WAITING, "0 of 3 ready"),
        (stateful_set(readyReplicas=3, **ONCE), State.WAITING, "0 of 3 updated"),
        (stateful_set(readyReplicas=2), State.WAITING, "2 of 3 ready"),
        (stateful_set(readyReplicas=3, updatedReplicas=1, **ONCE), State.WAITING, "1 of 3 updated"),
        (stateful_set(readyReplicas=3, updatedReplicas=3, **SAME), State.READY, "3/3"),
        (
            stateful_set({"type": "OnDelete"}, readyReplicas=3, updatedReplicas=1, **ONCE),
            State.READY,
            "3/3, 2 of the previous revision until they are deleted (OnDelete)",
        ),
        (stateful_set({"type": "OnDelete"}, readyReplicas=3, updatedReplicas=3, **SAME), State.READY, "3/3"),
        (
            stateful_set(PARTITION, readyReplicas=3, updatedReplicas=1, **ONCE),
            State.WAITING,
            "1 of 2 updated",
        ),
        (stateful_set(PARTITION, readyReplicas=3, updatedReplicas=2, **ONCE), State.READY, "3/3"),
        (workload("DaemonSet", {}), State.WAITING, "not yet observed by the controller"),
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
            "2/2, 2 of the previous revision until they are deleted (OnDelete)",
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
def test_readiness_matches_kubectl_rollout_status(thing: dict[str, Any], state: State, reason: str) -> None:
    assert readiness(thing) == Readiness(state, reason)


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
        ({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}}, "0/1"),
        (workload("ReplicaSet", {"availableReplicas": 1}, replicas=2), "1/2"),
        ({**workload("Job", {}), "apiVersion": "batch.example.org/v1"}, ""),
        (workload("Service", {}), ""),
    ],
)
def test_replicas_are_counted_as_each_kind_counts_them(thing: dict[str, Any], counted: str) -> None:
    assert tally(thing) == counted


def certificate(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    return workload("Certificate", {"conditions": [*conditions], **status})


def said(kind: str, status: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, **more}


ADDRESS = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}
UNSEEN = "not yet observed by its controller"


@pytest.mark.parametrize(
    ("thing", "state", "reason"),
    [
        (workload("Pod", {}), State.WAITING, "not started"),
        (workload("Pod", {"phase": "Running"}), State.WAITING, "not ready"),
        (workload("Pod", {"phase": "Running", **condition("Ready", "True")}), State.READY, "ready"),
        (workload("Pod", {"phase": "Succeeded"}), State.READY, "complete"),
        (workload("Pod", {"phase": "Failed"}), State.FAILED, "Failed"),
        (
            workload("Pod", {"phase": "Failed", "reason": "Evicted", "message": "no memory"}),
            State.FAILED,
            "Evicted: no memory",
        ),
        (workload("ReplicaSet", {}, replicas=1), State.WAITING, "not yet observed by the controller"),
        (workload("ReplicaSet", {"observedGeneration": 2}, replicas=1), State.WAITING, "0 of 1 available"),
        (
            workload("ReplicaSet", {"observedGeneration": 2, "availableReplicas": 1}),
            State.READY,
            "1/1",
        ),
        (workload("CronJob", {}, schedule="@daily"), State.READY, "runs at @daily"),
        (workload("CronJob", {}, suspend=True), State.READY, "suspended"),
        (workload("PersistentVolumeClaim", {"phase": "Pending"}), State.WAITING, "not bound to a volume"),
        (workload("PersistentVolumeClaim", {"phase": "Bound"}), State.READY, "bound"),
        (workload("PersistentVolumeClaim", {"phase": "Lost"}), State.FAILED, "Lost: its volume is gone"),
        (workload("Ingress", {"loadBalancer": {}}), State.WAITING, "no address yet"),
        (workload("Ingress", ADDRESS), State.READY, "at 203.0.113.7"),
        (workload("Service", {}, type="LoadBalancer"), State.WAITING, "no address yet"),
        (workload("Service", ADDRESS, type="LoadBalancer"), State.READY, "at 203.0.113.7"),
        (workload("Service", {}, type="ClusterIP"), State.READY, ""),
        (workload("APIService", {}), State.WAITING, "not available yet"),
        (workload("APIService", condition("Available", "True")), State.READY, "available"),
        (certificate(), State.WAITING, UNSEEN),
        (certificate(said("Ready", "True")), State.READY, "ready"),
        (certificate(said("Ready", "True", observedGeneration=1)), State.WAITING, UNSEEN),
        (certificate(said("Ready", "True"), observedGeneration=1), State.WAITING, UNSEEN),
        (
            certificate(said("Ready", "False", reason="DoesNotExist", message="Issuing")),
            State.WAITING,
            "DoesNotExist: Issuing",
        ),
        (
            certificate(said("Ready", "False"), said("Stalled", "True", reason="BadSpec")),
            State.FAILED,
            "BadSpec",
        ),
        ({**workload("Pod", {}), "apiVersion": "example.org/v1"}, State.WAITING, UNSEEN),
        (workload("Certificate", {"conditions": {"Ready": True}}), State.WAITING, UNSEEN),
        (workload("Certificate", {"conditions": ["Ready"]}), State.WAITING, UNSEEN),
        (certificate(said("Ready", "True"), observedGeneration="2"), State.READY, "ready"),
    ],
)
def test_other_kinds_are_ready_by_their_status(thing: dict[str, Any], state: State, reason: str) -> None:
    assert readiness(thing) == Readiness(state, reason)


@pytest.mark.parametrize(
    ("job", "runs"),
    [
        (workload("Job", {}), True),
        (workload("Job", {"active": 1}, suspend=True), True),
        (workload("Job", {}, suspend=True), False),
        (workload("Job", condition("Complete", "True")), False),
        (workload("Job", condition("Failed", "True")), False),
        ({"kind": "Job", "metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}}, False),
    ],
    ids=["new", "suspended while it runs", "suspended", "complete", "failed", "being deleted"],
)
def test_a_job_runs_until_it_ends_or_is_stopped(job: dict[str, Any], runs: bool) -> None:
    assert still_runs(job) is runs
