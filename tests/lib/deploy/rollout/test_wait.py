"""Judging by news: fed as watches would, without a server."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster.api import Api, Patience
from tasks.lib.cluster.endpoint import Endpoint
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.events import Event, LogLine, Record, Result, Row, Told
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.output.display import Lines
from tasks.lib.deploy.rollout import logs
from tasks.lib.deploy.rollout.judge import Target
from tasks.lib.deploy.rollout.wait import Wait
from tasks.lib.deploy.rollout.watch import Disturbed, Gone, Listed, News, Seen
from tasks.lib.deploy.steps import Action
from tasks.lib.errors import Failure
from tests.clock import Clock
from tests.lib.cluster.scripted import Answer, scripted

WEB = Ref("apps/v1", "Deployment", "default", "web")
OWNER = {"uid": "uid-web", "controller": True}
NOBODY = Api(Endpoint("http://127.0.0.1:9"), lambda: "token", Patience(0.1, 0.1))


def thing(kind: str, name: str, **status: Any) -> dict[str, Any]:
    """An object of the Deployment web's newest state, or that itself."""
    revision = {"deployment.kubernetes.io/revision": "1"}
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "annotations": revision,
        "generation": 1,
    }
    metadata |= {"ownerReferences": [OWNER]} if kind == "ReplicaSet" else {}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {**metadata, "resourceVersion": "1"},
        "spec": {"replicas": 1}, "status": {"observedGeneration": 1, **status},
    }  # fmt: skip


def refused(message: str) -> dict[str, Any]:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    return thing("ReplicaSet", "web-1", conditions=[condition])


class Course:
    """A wait for the Deployment web, and what it told."""

    def __init__(self) -> None:
        self.heard = list[Event]()
        record = Record("staging", {WEB: Row("workloads", WEB, Action.CHANGE)})
        self._wait = Wait(NOBODY, "default", [Target(WEB, "uid-web", 1)], record, self.heard.append, {})

    def hears(self, *things: dict[str, Any]) -> None:
        for one in things:
            self._wait._view.put(one)
        self._wait._judge_all()

    @property
    def told(self) -> list[str]:
        return [event.text for event in self.heard if isinstance(event, Told)]


def test_a_new_reason_is_told_at_once() -> None:
    course = Course()

    course.hears(thing("Deployment", "web"))
    course.hears(refused('pods "web-1-x" is forbidden: exceeded quota: few'))

    assert len(course.told) == 2
    assert "FailedCreate: a ResourceQuota is used up" in course.told[1]


def test_what_has_not_changed_is_not_told_again() -> None:
    course = Course()

    for _ in range(3):
        course.hears(thing("Deployment", "web"))

    assert len(course.told) == 1


MIGRATION = Ref("batch/v1", "Job", "default", "migration")


def waited(target: Target, *news: News) -> str:
    """What became of one target after all of this news, taken in before anything is judged."""
    record = Record(
        "staging", {target.ref: Row("phase", target.ref, Action.CHANGE, Result.WAITING, "not ready")}
    )
    wait = Wait(NOBODY, "default", [target], record, lambda event: None, {})
    for one in news:
        wait._take(one)
    wait._judge_all()
    return record.rows[target.ref].words


def job(**status: Any) -> dict[str, Any]:
    return {**thing("Job", "migration", **status), "apiVersion": "batch/v1"}


COMPLETE = [{"type": "Complete", "status": "True"}]
READY = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        ([[{"reason": "Completed"}]], "complete"),
        ([[], [], [{"reason": "Completed"}]], "complete"),
        ([[]], "failed: deleted during the deploy"),
    ],
    ids=["it completed", "it completed, and the event comes later", "it did not"],
)
def test_a_deleted_job_is_complete_by_its_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, answers: list[list[Any]], result: str
) -> None:
    monkeypatch.setattr(logs, "time", clock)
    record = Record("staging", {MIGRATION: Row("jobs", MIGRATION, Action.RUN)})
    with scripted(tmp_path) as server:
        listed = [{"metadata": {"resourceVersion": "1"}, "items": events} for events in answers]
        server.answers = [Answer(body=json.dumps(one).encode()) for one in listed]
        target = Target(MIGRATION, "uid-migration", 1)
        wait = Wait(server.api(), "default", [target], record, lambda event: None, {})

        with nullcontext() if answers[-1] else pytest.raises(Failure, match="was deleted while"):
            wait._take(Listed(("batch/v1", "Job"), "default", []))

    assert record.rows[MIGRATION].words == result
    assert "involvedObject.uid%3Duid-migration%2Creason%3DCompleted" in server.asked[0].path


class Lagging(Api):
    """A server that tells of a Job at once, and to those who watch pods nothing while they wait."""

    def __init__(self, ended: dict[str, Any]) -> None:
        super().__init__(Endpoint("http://127.0.0.1:9"), lambda: "token", Patience(0.1, 0.1))
        self._job, self._over = ended, threading.Event()

    def patient(self, patience: Patience) -> Api:
        return self

    def list(
        self, path: str, *, doing: str, query: Mapping[str, str] | None = None
    ) -> tuple[list[dict[str, Any]], str]:
        if path.endswith("/jobs"):
            return [self._job], "1"
        if query == {"labelSelector": "batch.kubernetes.io/controller-uid=uid-migration"}:
            return [POD], "1"
        if "fieldSelector" not in (query or {}):
            self._over.wait()
        return [], "1"

    def lines(self, path: str, *, query: Mapping[str, str], idle: float) -> Iterator[bytes]:
        if path.endswith("/migration-x/log"):
            yield b"2026-01-01T00:00:00Z Running migrations:"
        else:
            self._over.wait()

    def close(self) -> None:
        self._over.set()


POD: dict[str, Any] = {
    "metadata": {"name": "migration-x", "namespace": "default", "uid": "x", "creationTimestamp": ""},
    "spec": {"containers": [{"name": "main"}]},
    "status": {"containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": 0}}}]},
}
WATCHED = {
    key: Kind(*key, f"{key[1].lower()}s", namespaced=True)
    for key in (("batch/v1", "Job"), ("v1", "Pod"), ("v1", "Event"), ("v1", "PersistentVolumeClaim"))
}


def lagging(ended: dict[str, Any]) -> tuple[Wait, list[Event]]:
    """A wait for the Job migration that hears of its end before it hears of its pod."""
    told = list[Event]()
    record = Record("staging", {MIGRATION: Row("jobs", MIGRATION, Action.RUN)})
    target = Target(MIGRATION, "uid-migration", 1)
    return Wait(Lagging(ended), "default", [target], record, told.append, {}), told


def test_a_jobs_log_is_told_though_its_pod_comes_late() -> None:
    wait, told = lagging(job(conditions=COMPLETE))

    wait.until_ready(WATCHED, 60)

    assert [event for event in told if isinstance(event, LogLine)] == [
        LogLine("migration-x", "Running migrations:", "main")
    ]


def test_the_log_of_a_failed_job_may_arrive_late() -> None:
    failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]
    wait, _ = lagging(job(conditions=failed))

    with pytest.raises(Failure, match="Job migration failed") as caught:
        wait.until_ready(WATCHED, 60)

    assert "last lines of migration-x, container main:\n  2026-01-01T00:00:00Z Running" in caught.value.why


class Vanishing(Lagging):
    """A server that removes a failed Job's pod before anybody asks for its log again."""

    def __init__(self, ended: dict[str, Any]) -> None:
        super().__init__(ended)
        self._read = threading.Event()

    def list(
        self, path: str, *, doing: str, query: Mapping[str, str] | None = None
    ) -> tuple[list[dict[str, Any]], str]:
        if path.endswith("/jobs"):
            self._read.wait()
        elif path.endswith("/pods"):
            owned = {**POD["metadata"], "ownerReferences": [{"uid": "uid-migration", "controller": True}]}
            return ([] if "labelSelector" in (query or {}) else [{**POD, "metadata": owned}]), "1"
        return super().list(path, doing=doing, query=query)

    def lines(self, path: str, *, query: Mapping[str, str], idle: float) -> Iterator[bytes]:
        if path.endswith("/log") and "follow" not in query:
            raise ApiError("stream", 404, "NotFound", 'pods "migration-x" not found')
        yield from super().lines(path, query=query, idle=idle)
        self._read.set()


def test_the_log_of_a_failed_job_survives_its_pods() -> None:
    failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]
    record = Record("staging", {MIGRATION: Row("jobs", MIGRATION, Action.RUN)})
    target = Target(MIGRATION, "uid-migration", 1)
    wait = Wait(Vanishing(job(conditions=failed)), "default", [target], record, lambda event: None, {})

    with pytest.raises(Failure, match="Job migration failed") as caught:
        wait.until_ready(WATCHED, 60)

    assert "last lines of migration-x, container main:\n  Running migrations:" in caught.value.why
    assert caught.value.next_step.endswith("kubectl -n default describe job/migration")
    assert list(record.heard["migration-x", "main"]) == ["Running migrations:"]


def test_the_deletion_of_a_pod_is_always_logged(tmp_path: Path) -> None:
    rabbit = Ref("apps/v1", "StatefulSet", "default", "rabbit")
    owner = {"uid": "uid-rabbit", "controller": True}
    revisions = {"currentRevision": "r1", "updateRevision": "r2"}
    state = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    metadata = {"name": "rabbit-0", "namespace": "default", "uid": "uid-0", "ownerReferences": [owner]}
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": {"controller-revision-hash": "r1"}},
        "spec": {"containers": [{"name": "main"}]},
        "status": {"containerStatuses": [{"name": "main", "ready": False, "state": state}]},
    }  # fmt: skip
    said = list[str]()
    lines = Lines(said.append, lambda: 0.0)
    record = Record("staging", {rabbit: Row("phase", rabbit, Action.CHANGE)})
    with scripted(tmp_path) as server:
        server.answers = [Answer()]
        wait = Wait(server.api(), "default", [Target(rabbit, "uid-rabbit", 1)], record, lines, {})
        lines(Told(rabbit, "changed"))

        for one in (pod, thing("StatefulSet", "rabbit", **revisions)):
            wait._take(Seen(one))
        wait._judge_all()
        lines(Told(rabbit, "0 of 1 ready"))

    assert [asked.method for asked in server.asked] == ["DELETE"]
    assert "  StatefulSet rabbit: deleting broken pod rabbit-0 of the previous revision" in said


def test_a_job_removed_by_its_ttl_is_complete() -> None:
    ended = job(conditions=COMPLETE)

    assert waited(Target(MIGRATION, "uid-migration", 1), Seen(ended), Gone(ended)) == "complete"


@pytest.mark.parametrize(
    ("target", "news"),
    [
        (Target(WEB, "uid-web", 1), [Gone(thing("Deployment", "web", **READY))]),
        (Target(MIGRATION, "uid-migration", 1), [Gone(job(active=1))]),
        (Target(WEB, "uid-web", 1), [Listed(("apps/v1", "Deployment"), "default", [])]),
        (Target(WEB, "former", 1), [Listed(("apps/v1", "Deployment"), "default", [thing("Deployment", "web")])]),
    ],
    ids=["a Deployment, however ready", "a Job that has not ended", "while nobody looked", "and recreated"],
)  # fmt: skip
def test_a_target_that_is_deleted_fails_the_deploy(target: Target, news: list[News]) -> None:
    with pytest.raises(Failure, match="was deleted while this deploy waited for it") as caught:
        waited(target, *news)

    assert caught.value.why == "Last state seen: waiting: not ready."


RAN_BEFORE = Target(MIGRATION, "uid-migration", 1, is_replaced=True)
GAVE_UP = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]


@pytest.mark.parametrize(
    ("news", "result"),
    [
        ([Seen(job(conditions=COMPLETE))], "complete"),
        ([Seen(job(conditions=GAVE_UP))], "complete"),
        ([Gone(job(active=1))], "complete"),
        ([Listed(("batch/v1", "Job"), "default", [])], "complete"),
        ([Seen(job(active=1))], "waiting: waiting for the previous run to end: running"),
    ],
    ids=["it ends well", "it fails", "somebody deletes it", "it is gone already", "it goes on"],
)
def test_a_previous_run_may_end_in_any_way(news: list[News], result: str) -> None:
    assert waited(replace(RAN_BEFORE), *news) == result


def test_a_time_out_names_the_command_to_end_a_job() -> None:
    record = Record("staging", {MIGRATION: Row("jobs", MIGRATION, Action.RUN, Result.WAITING, "running")})
    wait = Wait(NOBODY, "default", [replace(RAN_BEFORE)], record, lambda event: None, {})

    late = wait._timed_out(900)

    assert (
        "Job migration is still running: see what it does with `kubectl -n default logs job/migration`"
        in late.why
    )
    assert "end it with `kubectl -n default delete job migration`" in late.why


@pytest.mark.parametrize(
    "news",
    [
        Gone({**thing("Deployment", "web"), "metadata": {"name": "web", "namespace": "default", "uid": "former"}}),
        Listed(("apps/v1", "Deployment"), "elsewhere", []),
        Listed(("v1", "Pod"), "default", []),
    ],
    ids=["its predecessor", "in another namespace", "another kind"],
)  # fmt: skip
def test_what_is_not_the_target_may_be_deleted(news: News) -> None:
    assert waited(Target(WEB, "uid-web", 1), news) == "waiting: not ready"


def test_an_object_that_is_being_deleted_is_not_ready() -> None:
    dying = thing("Deployment", "web", **READY)
    dying["metadata"]["deletionTimestamp"] = "now"

    assert waited(Target(WEB, "uid-web", 1), Seen(dying)) == "waiting: not ready"


def given_up(when: str) -> dict[str, Any]:
    """The Deployment web, whose controller said so long ago that it makes no progress."""
    late = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": "too slow",
    }
    return thing("Deployment", "web", conditions=[{**late, "lastUpdateTime": when}])


WRITTEN = "2026-01-01T00:10:00"


@pytest.mark.parametrize("when", ["2026-01-01T00:09:59Z", "2026-01-01T00:10:00Z", "2026-01-01T00:10:02Z"])
def test_an_earlier_exceeded_deadline_does_not_count(when: str) -> None:
    """It keeps saying so where the next state has pods already, until these are all that is left."""
    target = Target(WEB, "uid-web", 1, since=WRITTEN)

    assert waited(target, Seen(given_up(when))) == "waiting: 0 of 1 updated"


@pytest.mark.parametrize("since", [WRITTEN, ""], ids=["of what we wrote", "of what was left as it is"])
def test_an_exceeded_progress_deadline_fails_the_deploy(since: str) -> None:
    with pytest.raises(Failure, match="cannot become ready"):
        waited(Target(WEB, "uid-web", 1, since=since), Seen(given_up("2026-01-01T00:20:00Z")))


def test_a_definition_whose_names_are_taken_fails_the_deploy() -> None:
    ref = Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.example.org")
    metadata = {"name": ref.name, "uid": "1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    taken = {"type": "NamesAccepted", "status": "False", "message": '"widgets" is taken'}
    definition = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, "spec": {}}

    with pytest.raises(Failure) as caught:
        waited(Target(ref, "1", 1), Seen({**definition, "status": {"conditions": [taken]}}))

    assert caught.value.why == '"widgets" is taken'
    assert caught.value.next_step.endswith(
        "kubectl -n default describe customresourcedefinition/widgets.example.org"
    )


def test_a_time_out_names_the_workloads_and_the_limits() -> None:
    record = Record("staging", {WEB: Row("phase", WEB, Action.CHANGE, Result.WAITING, "0 of 1 updated")})
    wait = Wait(NOBODY, "default", [Target(WEB, "uid-web", 1)], record, lambda event: None, {})
    wait._take(Disturbed("connection refused"))

    late = wait._timed_out(123.45678)

    assert late.what == "1 of the workloads were not ready within 123.5 s."
    assert late.why.splitlines() == [
        "Deployment web: waiting: 0 of 1 updated",
        "The API server does not answer: connection refused",
    ]
    for limit in ("rollout", "job", "rollback", "deploy"):
        assert f"time_limits.{limit}" in late.next_step


def bare_pod(**status: Any) -> dict[str, Any]:
    metadata = {"name": "task", "namespace": "default", "uid": "1", "generation": 1, "creationTimestamp": ""}
    spec = {"containers": [{"name": "main"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


TASK = Target(Ref("v1", "Pod", "default", "task"), "1", 1)


def test_a_bare_pod_is_ready_once_it_says_so() -> None:
    ready = bare_pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}])

    assert waited(TASK, Seen(bare_pod(phase="Pending"))) == "waiting: not started"
    assert waited(TASK, Seen(ready)) == "ready"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"phase": "Failed"}, "Failed"),
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"name": "main", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
                ],
            },
            "pod task, container main: ErrImagePull: the image does not exist",
        ),
    ],
    ids=["that failed", "that cannot start"],
)
def test_a_bare_pod_that_cannot_become_ready_ends_the_wait(
    tmp_path: Path, status: dict[str, Any], why: str
) -> None:
    with pytest.raises(Failure, match="Pod task cannot become ready") as caught:
        waited(TASK, Seen(bare_pod(**status)))

    assert why in caught.value.why


def test_a_replica_set_without_permitted_pods_fails_the_deploy() -> None:
    target = Target(Ref("apps/v1", "ReplicaSet", "default", "web-1"), "uid-web-1", 1)
    refusal = refused('pods "x" is forbidden: violates PodSecurity "restricted"')

    with pytest.raises(Failure, match="ReplicaSet web-1 cannot become ready"):
        waited(target, Seen(refusal))


def test_a_claim_whose_class_is_missing_ends_the_wait() -> None:
    ref = Ref("v1", "PersistentVolumeClaim", "default", "data")
    metadata = {"name": "data", "namespace": "default", "uid": "1", "creationTimestamp": ""}
    claim = {"apiVersion": "v1", "kind": ref.kind, "metadata": metadata, "spec": {"storageClassName": "x"}}
    event = {
        "kind": "Event", "metadata": {"uid": "e", "name": "e"}, "involvedObject": {"uid": "1"},
        "reason": "ProvisioningFailed", "message": 'storageclass.storage.k8s.io "x" not found',
    }  # fmt: skip

    with pytest.raises(Failure, match="PersistentVolumeClaim data cannot become ready"):
        waited(Target(ref, "1", 0), Seen(event), Seen({**claim, "status": {"phase": "Pending"}}))


def test_a_certificate_waits_for_its_condition() -> None:
    ref = Ref("cert-manager.io/v1", "Certificate", "default", "cert")
    metadata = {"name": "cert", "namespace": "default", "uid": "1", "generation": 1}
    issuing = {"type": "Ready", "status": "False", "reason": "Issuing", "message": "order pending"}
    cert = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, "spec": {}}

    found = waited(Target(ref, "1", 1), Seen({**cert, "status": {"conditions": [issuing]}}))

    assert found == "waiting: Issuing: order pending"
