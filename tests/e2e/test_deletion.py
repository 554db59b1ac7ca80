"""What others delete before and during a deploy, through the sandbox's real API server."""

import json
import signal
from functools import partial

import pytest

from tests.deployed import COMMIT_B, deploy, deployed, interrupt, objects, workload
from tests.heard import until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def hold(case: Case, name: str, *finalizers: str) -> None:
    """Have a ConfigMap stay when it is deleted; without finalizers, let it go."""
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    case.kubectl("patch", "configmap", name, "--type=merge", f"--patch={patch}")


def test_an_object_under_deletion_is_waited_for_and_recreated(environment: Case) -> None:
    name = "extra"
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    environment.hold_only({**thing, "data": {"a": "b"}})
    deployed(environment)
    waits = f"ConfigMap {name}: is being deleted: waiting until it is gone"
    hold(environment, name, "example.org/held")
    environment.kubectl("delete", "configmap", name, "--wait=false")

    environment.hold_only({**thing, "data": {"a": "c"}}, workload("web"))
    stopped = environment.hearing({waits: partial(interrupt, signal.SIGTERM)})
    interrupted = deploy(stopped, commit=COMMIT_B)
    assert interrupted.code == 143, interrupted.stderr
    assert "kept as release 2" in interrupted.stderr

    again = deployed(environment.hearing({waits: partial(hold, environment, name)}))
    assert f"ConfigMap {name}: recreated" in again
    assert objects(environment)["ConfigMap/extra"]["data"] == {"a": "c"}


def test_a_workload_deleted_meanwhile_fails_the_deploy_and_is_recreated(environment: Case) -> None:
    environment.hold_only(workload("web"))
    deployed(environment)
    environment.hold_only(workload("web", "never-ready"))

    deletion = partial(environment.kubectl, "delete", "deployment", "web")
    done = deploy(environment.hearing({"Unhealthy": deletion}))

    assert done.code == 1, done.stderr
    assert "Deployment web was deleted while this deploy waited for it.\n" in done.stderr
    web = objects(environment)["Deployment/web"]
    assert web["status"]["availableReplicas"] == 1
    assert "never-ready" not in json.dumps(web["spec"])


def test_an_event_tells_that_a_removed_job_completed(environment: Case) -> None:
    """What tells a Job that its time to live removed from one that somebody deleted."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1"}]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "short"},
        "spec": {"template": {"spec": pod}},
    }
    path = f"/apis/batch/v1/namespaces/{environment.name}/jobs"
    environment.api.create(path, job)
    until(lambda: objects(environment, "jobs")["Job/short"]["status"].get("succeeded"))
    uid = objects(environment, "jobs")["Job/short"]["metadata"]["uid"]
    environment.api.delete(f"{path}/short")

    # Its controller sends that beside the Job's status: a moment later, perhaps.
    events = f"{environment.path}/events?fieldSelector=involvedObject.uid={uid},reason=Completed"
    until(lambda: (environment.api.get(events) or {})["items"])
