"""What others delete before and during a deploy, through the sandbox's real API server."""

import json

import pytest

from tests.e2e.test_deploy import COMMIT_A, deployed, objects
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_what_is_being_deleted_is_waited_for_and_made_anew(environment: Case) -> None:
    environment.add(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"a": "b"}}
    )
    deployed(environment)
    name = f"{environment.name}-extra"
    held = {"metadata": {"finalizers": ["example.org/held"]}}
    environment.kubectl("patch", "configmap", name, "--type=merge", f"--patch={json.dumps(held)}")
    environment.kubectl("delete", "configmap", name, "--wait=false")

    again = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_A)
    said = []
    assert again.stderr
    for line in again.stderr:
        said.append(line.strip())
        if line.strip() == f"ConfigMap {name}: is being deleted: waiting until it is gone":
            held["metadata"]["finalizers"] = []
            environment.kubectl("patch", "configmap", name, "--type=merge", f"--patch={json.dumps(held)}")

    assert again.wait(60) == 0, said
    assert f"ConfigMap {name} made anew" in "\n".join(said).replace(f"{name}:", name)
    assert objects(environment)["ConfigMap/extra"]["data"] == {"a": "b"}
