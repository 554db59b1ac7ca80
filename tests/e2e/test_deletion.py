"""What others delete before and during a deploy, through the sandbox's real API server."""

import json
import signal

import pytest

from tests.e2e.test_deploy import COMMIT_A, COMMIT_B, deployed, objects, read_until
from tests.heard import until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def hold(case: Case, name: str, *finalizers: str) -> None:
    """Have a ConfigMap stay when it is deleted; without finalizers, let it go."""
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    case.kubectl("patch", "configmap", name, "--type=merge", f"--patch={patch}")


def test_what_is_being_deleted_is_waited_for_and_made_anew(environment: Case) -> None:
    environment.add(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"a": "b"}}
    )
    deployed(environment)
    name = f"{environment.name}-extra"
    hold(environment, name, "example.org/held")
    environment.kubectl("delete", "configmap", name, "--wait=false")

    again = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_A)
    said = []
    assert again.stderr
    for line in again.stderr:
        said.append(line.strip())
        if line.strip() == f"ConfigMap {name}: is being deleted: waiting until it is gone":
            hold(environment, name)

    assert again.wait(60) == 0, said
    assert f"ConfigMap {name} made anew" in "\n".join(said).replace(f"{name}:", name)
    assert objects(environment)["ConfigMap/extra"]["data"] == {"a": "b"}


def test_a_workload_that_somebody_deletes_meanwhile_ends_the_deploy_and_comes_back(environment: Case) -> None:
    deployed(environment)
    environment.behave("Deployment", "web", "never-ready")
    deploying = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_B)
    said = [read_until(deploying, "Unhealthy")]
    environment.kubectl("delete", "deployment", f"{environment.name}-web")
    assert deploying.stderr
    said += deploying.stderr

    assert deploying.wait(60) == 1, said
    name = f"Deployment {environment.name}-web"
    assert f"{name} was deleted while this deploy waited for it.\n" in said
    assert objects(environment)["Deployment/web"]["status"]["availableReplicas"] == 1


def test_the_cluster_says_of_a_job_that_is_gone_that_it_completed(environment: Case) -> None:
    """What tells a Job that its time to live removed from one that somebody deleted."""
    deployed(environment)
    name = f"{environment.name}-migration"
    uid = json.loads(environment.kubectl("get", "job", name, "-o", "json"))["metadata"]["uid"]
    environment.kubectl("delete", "job", name)

    # Its controller sends that beside the Job's status: a moment later, perhaps.
    selector = f"involvedObject.uid={uid},reason=Completed"
    until(lambda: environment.kubectl("get", "events", "--field-selector", selector, "-o", "name"))


def test_a_deploy_that_waits_until_something_is_gone_can_be_interrupted(environment: Case) -> None:
    environment.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}})
    deployed(environment)
    name = f"{environment.name}-extra"
    hold(environment, name, "example.org/held")
    environment.kubectl("delete", "configmap", name, "--wait=false")
    process = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_B)
    read_until(process, f"ConfigMap {name}: is being deleted: waiting until it is gone")

    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)

    hold(environment, name)
    assert process.returncode == 143, rest
    assert "kept as release 2" in rest
    assert "staging is deployed" in deployed(environment, commit=COMMIT_B)
