"""Judging by news: fed as watches would, without a server."""

from typing import Any

from tasks.lib.cluster.api import Api, Endpoint, Patience
from tasks.lib.deploy.decide import Action
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.progress import Event, Record, Row, Told
from tasks.lib.deploy.waiting import Target, Wait

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


def test_a_reason_is_told_with_the_very_news_that_brings_it_however_soon_after_another() -> None:
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
