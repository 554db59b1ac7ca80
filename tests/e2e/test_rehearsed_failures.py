"""Pods fail as docs/sandbox.md says, and their logs answer through the API as a kubelet's would."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.heard import until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

State = Mapping[str, Any]


def pod(name: str, behaviour: str, restart: str = "Always", **annotations: str) -> dict[str, Any]:
    """A pod with one container that waits for another."""
    marks = {f"sandbox.lookit.org/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, "annotations": {"sandbox.lookit.org/behave": behaviour, **marks}}
    spec = {
        "restartPolicy": restart,
        "initContainers": [{"name": "wait", "image": "busybox:1"}],
        "containers": [{"name": "main", "image": "lookit:1"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def states(case: Case, name: str, since: str) -> Iterator[State]:
    """Every state that a pod is in from a resource version on, those too that pass while nobody looks."""
    query = {
        "watch": "true", "resourceVersion": since, "fieldSelector": f"metadata.name={name}",
        "timeoutSeconds": "60",
    }  # fmt: skip
    api = case.api
    with api.session.get(f"{api.url}{case.path}/pods", params=query, stream=True, timeout=70) as answer:
        for line in answer.iter_lines(chunk_size=None):
            yield json.loads(line)["object"].get("status", {})


def wait_for(case: Case, name: str, true: Callable[[State], object]) -> State:
    """The pod's status at which `true` says so of it; the pod was made by this test."""
    made = case.api.get(f"/api/v1/namespaces/{case.name}")
    assert made
    seen: State = {}
    for status in states(case, name, made["metadata"]["resourceVersion"]):
        seen = status
        if status.get("containerStatuses") and true(status):
            return status
    raise AssertionError(seen)


def waiting(reason: str, of: str = "containerStatuses") -> Callable[[State], bool]:
    return lambda status: status[of][0]["state"].get("waiting", {}).get("reason") == reason


def ready(status: State) -> str:
    return str(next(one["status"] for one in status["conditions"] if one["type"] == "Ready"))


@pytest.mark.parametrize(
    ("behaviour", "reason", "message"),
    [
        ("image-pull-error", "ErrImagePull", 'failed to resolve reference "lookit:1": lookit:1: not found'),
        ("image-pull-error", "ImagePullBackOff", 'Back-off pulling image "lookit:1"'),
        ("create-config-error", "CreateContainerConfigError", 'secret "lookit-secrets" not found'),
        ("crash-loop", "CrashLoopBackOff", "back-off 10s restarting failed container=main"),
    ],
)
def test_a_container_waits_for_the_reason(
    environment: Case, behaviour: str, reason: str, message: str
) -> None:
    environment.api.create(f"{environment.path}/pods", pod("sick", behaviour))

    status = wait_for(environment, "sick", waiting(reason))

    assert message in status["containerStatuses"][0]["state"]["waiting"]["message"]
    assert ready(status) == "False"


@pytest.mark.parametrize(
    ("behaviour", "annotations", "code", "reason"),
    [
        ("crash-loop", {}, 1, "Error"),
        ("crash-loop", {"exit_code": "78"}, 78, "Error"),
        ("oom", {}, 137, "OOMKilled"),
        ("liveness-fail", {}, 137, "Error"),
    ],
    ids=str,
)
def test_a_crashing_container_restarts_and_tells_how_it_ended(
    environment: Case, behaviour: str, annotations: dict[str, str], code: int, reason: str
) -> None:
    environment.api.create(f"{environment.path}/pods", pod("sick", behaviour, **annotations))

    status = wait_for(environment, "sick", lambda found: found["containerStatuses"][0]["restartCount"] >= 2)

    ended = status["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (code, reason)


def test_a_container_that_never_gets_ready_runs_on(environment: Case) -> None:
    environment.api.create(f"{environment.path}/pods", pod("sick", "never-ready"))

    status = wait_for(environment, "sick", lambda found: found["phase"] == "Running")

    assert "running" in status["containerStatuses"][0]["state"]
    assert ready(status) == "False"
    # Whoever changes a status sends events about it beside that.
    selector = "--field-selector=reason=Unhealthy,involvedObject.name=sick"
    until(lambda: environment.kubectl("get", "events", selector, "-o", "name"))


def test_an_init_container_fails_before_the_others_start(environment: Case) -> None:
    environment.api.create(f"{environment.path}/pods", pod("sick", "init-fail"))

    status = wait_for(environment, "sick", waiting("CrashLoopBackOff", "initContainerStatuses"))

    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert "bad address" in environment.kubectl("logs", "sick", "--container=wait")


def test_a_jobs_pod_fails_with_its_exit_code_and_logs(environment: Case) -> None:
    value = pod("sick", "job-fail", restart="Never", exit_code="3", logs="one\ntwo")
    environment.api.create(f"{environment.path}/pods", value)

    status = wait_for(environment, "sick", lambda found: found["phase"] == "Failed")

    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert environment.kubectl("logs", "sick", "--follow") == "one\ntwo\n"
    assert environment.kubectl("logs", "sick", "--tail=1") == "two\n"


def test_a_restarted_job_pod_crashes_until_the_job_fails(environment: Case) -> None:
    template = pod("", "job-fail", restart="OnFailure", exit_code="3")
    metadata = {"annotations": template["metadata"]["annotations"]}
    spec = {"backoffLimit": 1, "template": {"metadata": metadata, "spec": template["spec"]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sick"}, "spec": spec}
    environment.api.create(f"/apis/batch/v1/namespaces/{environment.name}/jobs", job)

    environment.kubectl("wait", "--for=condition=Failed", "job/sick", "--timeout=50s")

    reason = "jsonpath={.status.conditions[?(@.type=='Failed')].reason}"
    assert environment.kubectl("get", "job", "sick", "-o", reason) == "BackoffLimitExceeded"


def test_previous_logs_are_those_of_the_run_that_crashed(environment: Case) -> None:
    environment.api.create(f"{environment.path}/pods", pod("sick", "never-ready", logs="the last words"))
    wait_for(environment, "sick", lambda found: found["phase"] == "Running")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        environment.kubectl("logs", "sick", "--previous")
    assert 'previous terminated container "main" in pod "sick" not found' in refused.value.stderr

    environment.kubectl("annotate", "pod", "sick", "--overwrite", "sandbox.lookit.org/behave=crash-loop")
    wait_for(environment, "sick", waiting("CrashLoopBackOff"))

    assert environment.kubectl("logs", "sick", "--previous") == "the last words\n"


def test_a_pod_that_cannot_pull_has_no_logs(environment: Case) -> None:
    environment.api.create(f"{environment.path}/pods", pod("sick", "image-pull-error"))
    wait_for(environment, "sick", waiting("ImagePullBackOff"))

    with pytest.raises(subprocess.CalledProcessError) as refused:
        environment.kubectl("logs", "sick")

    assert "is waiting to start: trying and failing to pull image" in refused.value.stderr


def test_logs_are_followed_until_the_container_ends(environment: Case) -> None:
    template = pod("slow", "", restart="Never", logs="\n".join(f"line {number}" for number in range(100)))
    template["metadata"]["annotations"]["sandbox.lookit.org/runs-for"] = "3s"
    job = {
        "kind": "Job",
        "apiVersion": "batch/v1",
        "metadata": {"name": "slow"},
        "spec": {"template": template},
    }
    environment.api.create(f"/apis/batch/v1/namespaces/{environment.name}/jobs", job)
    pods = f"{environment.path}/pods?labelSelector=job-name=slow"
    until(lambda: [one for one in (environment.api.get(pods) or {})["items"] if has_begun(one["status"])])

    lines = environment.kubectl("logs", "job/slow", "--follow", "--container=main").splitlines()

    assert lines == [f"line {number}" for number in range(100)]
    environment.kubectl("wait", "job/slow", "--for=condition=Complete", "--timeout=50s")


def has_begun(status: State) -> bool:
    """Whether a pod's container runs, or has run."""
    return any({"running", "terminated"} & {*one["state"]} for one in status.get("containerStatuses", ()))
