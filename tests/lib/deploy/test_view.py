from typing import Any

from tasks.lib.deploy.objects import Ref, ref_of
from tasks.lib.deploy.view import View


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
    found = view.trouble_of(web)
    assert found is not None
    assert found[0].pod == "pod-2"


def test_nothing_is_judged_before_the_controller_has_seen_the_newest_state() -> None:
    view = View()
    web = {
        **thing("Deployment", "web", annotations=revision("1"), generation=2),
        "status": {"observedGeneration": 1},
    }
    view.put(thing("ReplicaSet", "web-1", "uid-web", annotations=revision("1")))
    view.put(crashing(thing("Pod", "broken", "uid-web-1")))
    assert names(view, web) == []
    assert view.trouble_of(web) is None


def test_pods_of_a_stateful_set_are_told_apart_by_revision() -> None:
    view = View()
    queue = {**thing("StatefulSet", "queue"), "status": {"updateRevision": "b"}}
    view.put(thing("Pod", "old", "uid-queue", labels={"controller-revision-hash": "a"}))
    view.put(thing("Pod", "new", "uid-queue", labels={"controller-revision-hash": "b"}))
    assert names(view, queue) == ["new"]


def test_broken_pods_of_an_earlier_state_hold_a_stateful_set_up() -> None:
    view = View()
    queue = {**thing("StatefulSet", "queue"), "status": {"updateRevision": "b"}}
    view.put(crashing(thing("Pod", "queue-0", "uid-queue", labels={"controller-revision-hash": "a"})))
    view.put(thing("Pod", "queue-1", "uid-queue", labels={"controller-revision-hash": "a"}))
    view.put(crashing(thing("Pod", "queue-2", "uid-queue", labels={"controller-revision-hash": "b"})))
    assert [pod["metadata"]["name"] for _, pod in view.stuck_pods_of(queue)] == ["queue-0"]
    assert view.stuck_pods_of({**queue, "status": {}}) == []
    assert view.stuck_pods_of({**queue, "kind": "Deployment"}) == []


def test_pods_of_a_daemon_set_are_told_apart_by_generation() -> None:
    view = View()
    agent = thing("DaemonSet", "agent", annotations={"deprecated.daemonset.template.generation": "3"})
    view.put(thing("Pod", "old", "uid-agent", labels={"pod-template-generation": "2"}))
    view.put(thing("Pod", "new", "uid-agent", labels={"pod-template-generation": "3"}))
    assert names(view, agent) == ["new"]


def test_a_crash_is_the_jobs_own_matter_but_a_missing_image_is_not() -> None:
    view = View()
    job = thing("Job", "migration")
    view.put(crashing(thing("Pod", "attempt", "uid-migration")))
    assert view.trouble_of(job) is None
    view.put(crashing(thing("Pod", "attempt", "uid-migration", version="2"), "InvalidImageName"))
    found = view.trouble_of(job)
    assert found is not None
    assert found[0].reason == "InvalidImageName"


def test_a_state_that_arrives_late_does_not_replace_a_newer_one() -> None:
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
    view.replace_kind(("v1", "Pod"), [thing("Pod", "second", "uid-migration", version="2")])
    assert names(view, job) == ["second"]
    view.drop(thing("Pod", "second", "uid-migration"))
    assert names(view, job) == []
