"""References that lead nowhere: refused by a deploy, and fatal on the sandbox's nodes as on a kubelet's."""

import json
from typing import Any

import pytest

from tests.deployed import deployed, workload
from tests.heard import until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

COMMIT = "d" * 40
DEPLOY = ("deploy", "--branch", "develop", "--commit", COMMIT)
LATE = {"envFrom": [{"secretRef": {"name": "late"}}]}


def with_container(name: str, **container: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": name, **container}]}}}}


def test_a_missing_secret_and_key_are_refused_before_anything_changes(environment: Case) -> None:
    secret = {"name": "no-such-secret"}
    typo = {"configMapKeyRef": {"name": "lookit-configmap", "key": "ALLOWED_HOST"}}
    environment.patch("Deployment", "web", with_container("uwsgi", envFrom=[{"secretRef": secret}]))
    environment.patch(
        "Deployment", "worker", with_container("worker", env=[{"name": "HOST", "valueFrom": typo}])
    )

    planned, refused = environment.invoke("plan", *DEPLOY[1:]), environment.invoke(*DEPLOY)

    name = environment.name
    for done in (planned, refused):
        assert done.returncode == 1, done.stderr
        assert f"Deployment {name}-web, container uwsgi: Secret no-such-secret does not exist" in done.stderr
        assert f"Deployment {name}-worker, container worker: ConfigMap {name}-lookit-configmap" in done.stderr
        assert "has no key ALLOWED_HOST" in done.stderr
    assert "nothing was changed" in refused.stderr
    assert json.loads(environment.kubectl("get", "deployments", "-o", "json"))["items"] == []


def test_references_to_objects_of_others_are_accepted(environment: Case) -> None:
    web = workload("web")
    web["spec"]["template"]["spec"]["containers"][0] |= LATE
    environment.hold_only(web)
    environment.kubectl("create", "secret", "generic", "late", "--from-literal=A=b")

    deployed(environment)


def waiting(case: Case, pod: str) -> dict[str, Any]:
    found = json.loads(case.kubectl("get", "pod", pod, "-o", "json"))
    statuses = found["status"].get("containerStatuses") or [{"state": {}}]
    state: dict[str, Any] = statuses[0]["state"].get("waiting", {})
    return state


def is_ready(case: Case, pod: str) -> bool:
    found = case.api.get(f"{case.path}/pods/{pod}")
    assert found
    return any((one["type"], one["status"]) == ("Ready", "True") for one in found["status"]["conditions"])


def messages(case: Case, reason: str) -> list[str]:
    """What events say: who changes a status sends them beside that."""
    listed = case.api.get(f"{case.path}/events?fieldSelector=reason={reason}")
    assert listed
    return [event["message"] for event in listed["items"]]


def bare(name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "lookit:1", **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [main], **spec},
    }


def test_a_pod_starts_once_its_secret_exists(environment: Case) -> None:
    environment.api.create(f"{environment.path}/pods", bare("needy", LATE))

    told = until(lambda: waiting(environment, "needy"))
    assert told == {"reason": "CreateContainerConfigError", "message": 'secret "late" not found'}
    until(lambda: 'Error: secret "late" not found' in messages(environment, "Failed"))

    environment.kubectl("create", "secret", "generic", "late", "--from-literal=A=b")

    until(lambda: is_ready(environment, "needy"))


def test_a_pod_waits_for_what_a_volume_holds(environment: Case) -> None:
    volume = {"name": "files", "configMap": {"name": "late"}}
    environment.api.create(f"{environment.path}/pods", bare("needy", {}, volumes=[volume]))

    told = until(lambda: waiting(environment, "needy"))
    assert told == {"reason": "ContainerCreating"}
    said = 'MountVolume.SetUp failed for volume "files" : configmap "late" not found'
    until(lambda: messages(environment, "FailedMount") == [said])

    environment.kubectl("create", "configmap", "late", "--from-literal=A=b")

    until(lambda: is_ready(environment, "needy"))
