"""Workloads outside the environment's namespace, through the sandbox's real API server."""

import json

import pytest

from tests.deployed import deployed
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def test_a_workload_in_another_namespace_is_waited_for_there(environment: Case) -> None:
    elsewhere = f"{environment.name}-logs"
    environment.kubectl("create", "namespace", elsewhere)
    labels = {"app": "agent"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "agent:1"}]}}
    overlay = environment.tree / "overlays" / "case"
    # The overlay is this thing alone: a namespace that it sets would count for all of it.
    (overlay / "kustomization.yaml").write_text(json.dumps({"resources": ["thing.json"]}))
    (overlay / "thing.json").write_text(
        json.dumps({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": elsewhere},
            "spec": {"selector": {"matchLabels": labels}, "template": pod},
        })
    )  # fmt: skip

    said = deployed(environment).splitlines()

    environment.kubectl("delete", "namespace", elsewhere, "--wait=false")
    assert any("DaemonSet agent" in line and "create  ready" in line for line in said), said
