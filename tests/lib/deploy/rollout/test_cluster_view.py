from typing import Any

import pytest

from tasks.lib.deploy.objects import Ref, ref_of
from tasks.lib.deploy.rollout.cluster_view import View, Warnings
from tasks.lib.deploy.rollout.diagnose import last_seen
from tasks.lib.deploy.rollout.failure_rules import NEVER


def thing(kind: str, name: str, owner: str = "", version: str = "1", **metadata: Any) -> dict[str, Any]:
    owners = [{"uid": owner, "controller": True}] if owner else []
    group = {"Pod": "v1", "Job": "batch/v1"}.get(kind, "apps/v1")
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {
            "name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": version,
            "ownerReferences": owners, **metadata,
        },
        "spec": {"containers": [{"name": "c"}]},
    }  # fmt: skip


def revision(number: str) -> dict[str, str]:
    return {"deployment.kubernetes.io/revision": number}


def names(view: View, workload: dict[str, Any]) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in view.pods_of(workload))


def crashing(pod: dict[str, Any], reason: str = "CrashLoopBackOff") -> dict[str, Any]:
    state = {"waiting": {"reason": reason}}
    return {**pod, "status": {"containerStatuses": [{"name": "c", "state": state}]}}


def test_only_the_newest_replica_set_of_a_deployment_is_judged() -> None:
    view = View()
    web = {
        **thing("Deployment", "web", annotations=revision("2"), generation=2),
        "status": {"observedGeneration": 2},
    }
    for number in ("1", "2"):
        view.put(thing("ReplicaSet", f"web-{number}", "uid-web", annotations=revision(number)))
        view.put(crashing(thing("Pod", f"pod-{number}", f"uid-web-{number}")))

    assert names(view, web) == ["pod-2"]
    assert [(t.name, pod and pod["metadata"]["name"]) for t, pod in view.problems_of(web)] == [
        ("pod-2", "pod-2")
    ]


def test_nothing_is_judged_before_the_controller_observed_it() -> None:
    view = View()
    web = {
        **thing("Deployment", "web", annotations=revision("1"), generation=2),
        "status": {"observedGeneration": 1},
    }
    view.put(thing("ReplicaSet", "web-1", "uid-web", annotations=revision("1")))
    view.put(crashing(thing("Pod", "broken", "uid-web-1")))
    assert names(view, web) == []
    assert view.problems_of(web) == []


def test_pods_of_a_stateful_set_are_told_apart_by_revision() -> None:
    view = View()
    queue = {**thing("StatefulSet", "queue"), "status": {"updateRevision": "b"}}
    view.put(thing("Pod", "old", "uid-queue", labels={"controller-revision-hash": "a"}))
    view.put(thing("Pod", "new", "uid-queue", labels={"controller-revision-hash": "b"}))
    assert names(view, queue) == ["new"]


def test_broken_old_pods_of_a_stateful_set_are_stuck() -> None:
    view = View()
    queue = {**thing("StatefulSet", "queue"), "status": {"updateRevision": "b"}}
    view.put(crashing(thing("Pod", "queue-0", "uid-queue", labels={"controller-revision-hash": "a"})))
    view.put(thing("Pod", "queue-1", "uid-queue", labels={"controller-revision-hash": "a"}))
    view.put(crashing(thing("Pod", "queue-2", "uid-queue", labels={"controller-revision-hash": "b"})))
    assert [pod["metadata"]["name"] for _, pod in view.stuck_pods_of(queue)] == ["queue-0"]
    assert view.stuck_pods_of({**queue, "status": {}}) == []
    assert view.stuck_pods_of({**queue, "kind": "Deployment"}) == []
    unseen = {**queue, "metadata": {**queue["metadata"], "generation": 1}}
    assert view.stuck_pods_of(unseen) == []


@pytest.mark.parametrize(
    ("spec", "stuck"),
    [
        ({}, ["queue-4", "queue-5"]),
        ({"updateStrategy": {"type": "OnDelete"}}, []),
        ({"updateStrategy": {"rollingUpdate": {"partition": 5}}}, ["queue-5"]),
        ({"updateStrategy": {"rollingUpdate": {"partition": 1}}, "ordinals": {"start": 4}}, ["queue-5"]),
    ],
    ids=["a rolling update", "on deletion", "down to a partition", "counted from another number"],
)
def test_pods_kept_by_the_update_strategy_are_not_stuck(spec: dict[str, Any], stuck: list[str]) -> None:
    view = View()
    queue = {**thing("StatefulSet", "queue"), "spec": spec, "status": {"updateRevision": "b"}}
    for name in ("queue-4", "queue-5"):
        view.put(crashing(thing("Pod", name, "uid-queue", labels={"controller-revision-hash": "a"})))

    assert sorted(pod["metadata"]["name"] for _, pod in view.stuck_pods_of(queue)) == stuck


def test_pods_of_a_daemon_set_are_told_apart_by_generation() -> None:
    view = View()
    agent = thing("DaemonSet", "agent", annotations={"deprecated.daemonset.template.generation": "3"})
    view.put(thing("Pod", "old", "uid-agent", labels={"pod-template-generation": "2"}))
    view.put(thing("Pod", "new", "uid-agent", labels={"pod-template-generation": "3"}))
    assert names(view, agent) == ["new"]


def test_a_job_replaces_an_evicted_pod_itself() -> None:
    view = View()
    evicted = thing("Pod", "attempt", "uid-migration")
    evicted["status"] = {"phase": "Failed", "reason": "Evicted", "message": "exceeds the limit"}
    view.put(evicted)
    assert view.problems_of(thing("Job", "migration")) == []


def test_a_job_handles_crashes_itself_but_not_missing_images() -> None:
    view = View()
    job = thing("Job", "migration")
    view.put(crashing(thing("Pod", "attempt", "uid-migration")))
    assert view.problems_of(job) == []
    view.put(crashing(thing("Pod", "attempt", "uid-migration", version="2"), "InvalidImageName"))
    assert [t.reason for t, _ in view.problems_of(job)] == ["InvalidImageName"]


def test_a_late_state_does_not_replace_a_newer_one() -> None:
    view = View()
    view.put(thing("Pod", "web", version="10"))
    view.put(thing("Pod", "web", version="9"))
    known = view.get(Ref("v1", "Pod", "default", "web"))
    assert known is not None
    assert known["metadata"]["resourceVersion"] == "10"


def test_a_recreated_object_replaces_its_predecessor_whatever_its_version() -> None:
    view = View()
    view.put(thing("Pod", "web", version="10"))
    again = thing("Pod", "web", version="9")
    again["metadata"]["uid"] = "another"
    view.put(again)
    assert view.get(ref_of(again)) is again


def test_what_is_missing_from_a_complete_list_is_gone() -> None:
    view = View()
    job = thing("Job", "migration")
    view.put(thing("Pod", "first", "uid-migration"))
    view.put(thing("Pod", "second", "uid-migration"))
    view.replace_kind(("v1", "Pod"), "default", [thing("Pod", "second", "uid-migration", version="2")])
    assert names(view, job) == ["second"]
    view.drop(thing("Pod", "second", "uid-migration"))
    assert names(view, job) == []


def test_a_list_of_one_namespace_says_nothing_of_another() -> None:
    view = View()
    view.put(thing("Pod", "first", "uid-migration"))
    view.replace_kind(("v1", "Pod"), "monitoring", [])
    assert names(view, thing("Job", "migration")) == ["first"]


def warning(
    about: dict[str, Any], reason: str, message: str, at: str = "2026-01-01T00:00:10Z"
) -> dict[str, Any]:
    event = thing("Event", f"{about['metadata']['name']}.{reason}")
    return {
        **event, "involvedObject": {"uid": about["metadata"]["uid"]}, "reason": reason, "message": message,
        "type": "Warning", "lastTimestamp": at,
    }  # fmt: skip


def test_the_claims_of_newest_pods_are_judged_by_their_warnings() -> None:
    view = View()
    queue = {**thing("StatefulSet", "queue"), "status": {"updateRevision": "b"}}
    pod = thing("Pod", "queue-0", "uid-queue", labels={"controller-revision-hash": "b"})
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-queue-0"}}]
    view.put({**pod, "spec": {**pod["spec"], "volumes": volumes}})
    claim = {**thing("PersistentVolumeClaim", "data-queue-0"), "apiVersion": "v1"}
    claim |= {"spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}}
    view.put(claim)
    assert view.problems_of(queue) == []

    view.put(warning(claim, "ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found'))

    ((found, shown_by),) = view.problems_of(queue)
    assert (found.kind, found.name, found.patience) == ("PersistentVolumeClaim", "data-queue-0", 0)
    assert shown_by is None


def test_failures_of_an_old_replica_set_do_not_count() -> None:
    view = View()
    web = {**thing("Deployment", "web", annotations=revision("2")), "status": {}}
    refused = {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]}
    for number in ("1", "2"):
        view.put(
            {
                **thing("ReplicaSet", f"web-{number}", "uid-web", annotations=revision(number)),
                "status": refused,
            }
        )
    assert [t.name for t, _ in view.problems_of(web)] == ["web-2"]


def test_a_listed_warning_counts_only_if_newer_than_our_write() -> None:
    view = View()
    job = thing("Job", "migration")
    view.replace_kind(("v1", "Event"), "default", [warning(job, "FailedCreate", "denied the request")])
    assert [t.patience for t, _ in view.problems_of(job, "2026-01-01T00:00:10")] == [0]
    assert [t.patience for t, _ in view.problems_of(job, "2026-01-01T00:00:11")] == [NEVER]
    event = warning(job, "FailedCreate", "denied the request")
    view.drop(event)
    assert view.problems_of(job) == []


NOTED = {"metadata": {"uid": "web"}}


def event(
    uid: str, reason: str = "Unhealthy", at: str = "2026-01-01T00:00:10Z", **more: Any
) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid},
        "involvedObject": {"uid": "web"},
        "reason": reason,
        "lastTimestamp": at,
        **more,
    }


def test_the_newest_event_of_each_reason_is_told() -> None:
    warnings = Warnings()
    warnings.put(event("1", at="2026-01-01T00:00:20Z"), arrived=True)
    warnings.put(event("2"), arrived=True)
    warnings.put(event("3", "FailedMount"), arrived=True)
    assert {one["metadata"]["uid"] for one in warnings.about(NOTED)} == {"1", "3"}
    assert warnings.about({"metadata": {"uid": "another"}}) == []


def test_a_deleted_event_is_forgotten() -> None:
    warnings = Warnings()
    warnings.put(event("1"), arrived=True)
    warnings.drop(event("1"))
    assert warnings.about(NOTED) == []


@pytest.mark.parametrize(
    ("arrived", "since", "recent"),
    [
        (True, "2026-01-01T00:00:30", True),
        (False, "2026-01-01T00:00:10", True),
        (False, "2026-01-01T00:00:11", False),
        (False, "", False),
    ],
    ids=["came while watching", "not older than our write", "older", "nothing was written"],
)
def test_what_is_recent(arrived: bool, since: str, recent: bool) -> None:
    warnings = Warnings()
    warnings.put(event("1"), arrived=arrived)
    assert warnings.is_recent(event("1"), since) is recent


def test_an_event_that_happens_again_becomes_recent() -> None:
    warnings = Warnings()
    warnings.put(event("1"), arrived=False)
    warnings.put(event("1", at="2026-01-01T00:00:40Z"), arrived=True)
    assert warnings.is_recent(event("1"), "")


@pytest.mark.parametrize(
    ("times", "seen"),
    [
        ({"lastTimestamp": "2026-01-01T00:00:10Z"}, "2026-01-01T00:00:10"),
        ({"lastTimestamp": None, "eventTime": "2026-01-01T00:00:11.5Z"}, "2026-01-01T00:00:11"),
        ({"series": {"lastObservedTime": "2026-01-01T00:00:12.1Z"}}, "2026-01-01T00:00:12"),
        ({"lastTimestamp": None}, "2026-01-01T00:00:09"),
    ],
)
def test_when_an_event_last_happened(times: dict[str, Any], seen: str) -> None:
    base = event("1")
    base["metadata"]["creationTimestamp"] = "2026-01-01T00:00:09Z"
    assert last_seen({**base, **times}) == seen
