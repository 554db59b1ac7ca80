"""Which pods the sandbox's nodes let start, and what they say of the others."""

from typing import Any

import pytest

from sandbox.containers.place import NODE
from sandbox.node.api import Api, Object
from sandbox.node.configuration import CONDITION, Starter, events_of, is_due, problems_of, status_of

NOW = "2026-01-01T00:00:00Z"
THERE = {
    ("configmap", "config"): {"data": {"A": ""}, "binaryData": {"B": ""}},
    ("secret", "settings"): {"data": {"A": ""}},
}


def look(kind: str, name: str) -> Object | None:
    return THERE.get((kind, name))


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "lookit:1", **(container or {})}
    whole = {"nodeName": "sandbox-node-1", "containers": [main], **spec}
    return {
        "metadata": {"namespace": "default", "name": "web", "uid": "1"},
        "spec": whole,
        "status": {"phase": "Pending"},
    }


def variable(field: str, **named: Any) -> dict[str, Any]:
    return {"env": [{"name": "X", "valueFrom": {field: named}}]}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"secretRef": {"name": "none"}}]}, 'secret "none" not found'),
        ({"envFrom": [{"configMapRef": {"name": "none"}}]}, 'configmap "none" not found'),
        ({"envFrom": [{"configMapRef": {"name": "none", "optional": True}}]}, ""),
        (variable("secretKeyRef", name="none", key="A"), 'secret "none" not found'),
        (
            variable("secretKeyRef", name="settings", key="Z"),
            "couldn't find key Z in Secret default/settings",
        ),
        (
            variable("configMapKeyRef", name="config", key="B"),
            "couldn't find key B in ConfigMap default/config",
        ),
        (variable("configMapKeyRef", name="config", key="Z", optional=True), ""),
        (variable("configMapKeyRef", name="config", key="A"), ""),
        (variable("fieldRef", fieldPath="metadata.name"), ""),
    ],
)
def test_a_container_is_not_created_without_its_settings(container: dict[str, Any], message: str) -> None:
    assert problems_of(pod(container), look).containers == ({"main": message} if message else {})


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"secret": {"secretName": "none", "optional": True}}, ""),
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"configMap": {"name": "config", "items": [{"key": "B"}]}}, ""),
        ({"configMap": {"name": "config", "items": [{"key": "Z"}]}}, "references non-existent config key: Z"),
        (
            {"secret": {"secretName": "settings", "items": [{"key": "Z"}]}},
            "references non-existent secret key: Z",
        ),
        (
            {"projected": {"sources": [{"secret": {"name": "none"}}, {"configMap": {"name": "none"}}]}},
            '[secret "none" not found, configmap "none" not found]',
        ),
        ({"emptyDir": {}}, ""),
    ],
)
def test_a_volume_is_not_mounted_without_its_content(volume: dict[str, Any], message: str) -> None:
    problems = problems_of(pod(volumes=[{"name": "files", **volume}]), look)

    assert problems.volumes == ({"files": message} if message else {})


def states(found: dict[str, Any], of: str = "containerStatuses") -> list[Any]:
    return [one["state"].get("waiting", {}).get("reason") or next(iter(one["state"])) for one in found[of]]


LACKS = {"envFrom": [{"secretRef": {"name": "none"}}]}


def test_the_others_start_while_one_waits_for_its_settings() -> None:
    both = [{"name": "main", "image": "a", **LACKS}, {"name": "beside", "image": "b"}]
    sick = pod(containers=both)
    problems = problems_of(sick, look)

    status = status_of(sick, problems, NOW)

    assert states(status) == ["CreateContainerConfigError", "running"]
    assert status["containerStatuses"][0]["state"]["waiting"]["message"] == 'secret "none" not found'
    assert {one["type"]: one["status"] for one in status["conditions"]}[CONDITION] == "False"
    assert events_of(sick, problems) == [
        ("Failed", 'Error: secret "none" not found', "spec.containers{main}")
    ]


def test_init_containers_come_one_after_the_other() -> None:
    initial = [{"name": name, "image": "a"} for name in ("first", "second", "third")]
    sick = pod(initContainers=[initial[0], {**initial[1], **LACKS}, initial[2]])
    problems = problems_of(sick, look)

    status = status_of(sick, problems, NOW)

    assert states(status, "initContainerStatuses") == [
        "terminated",
        "CreateContainerConfigError",
        "PodInitializing",
    ]
    assert states(status) == ["PodInitializing"]
    assert events_of(sick, problems)[0][2] == "spec.initContainers{second}"


def test_nothing_is_created_before_all_volumes_are_mounted() -> None:
    sick = pod(LACKS, volumes=[{"name": "files", "configMap": {"name": "none"}}])
    problems = problems_of(sick, look)

    assert states(status_of(sick, problems, NOW)) == ["ContainerCreating"]
    assert events_of(sick, problems) == [
        ("FailedMount", 'MountVolume.SetUp failed for volume "files" : configmap "none" not found', "")
    ]


def test_a_pod_that_has_all_only_gets_the_condition() -> None:
    status = status_of(pod(), problems_of(pod(), look), NOW)

    assert status == {"conditions": [{"type": CONDITION, "status": "True", "lastTransitionTime": NOW}]}


@pytest.mark.parametrize(
    ("change", "due"),
    [
        ({}, True),
        ({"spec": {"containers": []}}, False),
        ({"spec": {"containers": [], "nodeName": NODE}}, False),
        ({"status": {"phase": "Running"}}, False),
        ({"status": {"phase": "Pending", "conditions": [{"type": CONDITION, "status": "True"}]}}, False),
        ({"metadata": {"deletionTimestamp": NOW}}, False),
        ({"metadata": {"annotations": {"sandbox.lookit.org/behave": "mount-error"}}}, False),
    ],
    ids=[
        "new",
        "without a node",
        "on the real node",
        "running",
        "may start already",
        "going",
        "told to fail before",
    ],
)
def test_only_pods_that_have_not_started_are_looked_at(change: dict[str, Any], due: bool) -> None:
    assert is_due({**pod(), **change}) == due


class Asked(Api):
    """An API server that has every Secret, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, path: str) -> Object | None:
        self.asked.append(path)
        return {"data": {"A": "", "B": ""}}

    def patch(self, path: str, value: Object) -> None:
        self.asked.append(path)


def test_an_object_that_many_variables_name_is_asked_for_once() -> None:
    api = Asked()
    named = [{"name": key, "valueFrom": {"secretKeyRef": {"name": "s", "key": key}}} for key in ("A", "B")]
    made = pod({"env": named})

    for _ in range(2):  # another look asks again
        Starter(api)._look(made)

    path = "/api/v1/namespaces/default"
    assert api.asked == 2 * [f"{path}/secrets/s", f"{path}/pods/web/status"]
