"""Workloads outside the environment's namespace, through the sandbox's real API server."""

import json
from typing import Any

import pytest

from tests.e2e.test_deploy import deployed
from tests.sandbox_case import Case, merged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


class Nested(Case):
    """A corner whose overlay takes that of others in, and adds what lies in another namespace."""

    @property
    def values(self) -> dict[str, Any]:
        secrets = {"plaintexts": "overlays/inner/secrets"}
        return merged(super().values, {"environments": {"staging": {"secrets": secrets}}})

    def nest(self, thing: dict[str, Any]) -> None:
        """Change the tree: put `thing` beside the overlay, whose namespace then does not count for it."""
        overlays = self.tree / "overlays"
        (overlays / "case").rename(overlays / "inner")
        (overlays / "case").mkdir()
        (overlays / "case" / "thing.yaml").write_text(json.dumps(thing))
        (overlays / "case" / "kustomization.yaml").write_text(
            json.dumps({"resources": ["../inner", "thing.yaml"]})
        )


def test_a_workload_in_another_namespace_is_waited_for_there(environment: Case) -> None:
    elsewhere = f"{environment.name}-logs"
    environment.kubectl("create", "namespace", elsewhere)
    labels = {"app": "agent"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "agent:1"}]}}
    corner = Nested(environment.sandbox, environment.folder, environment.name)
    corner.nest(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": elsewhere},
            "spec": {"selector": {"matchLabels": labels}, "template": pod},
        }
    )

    said = deployed(corner).splitlines()

    environment.kubectl("delete", "namespace", elsewhere, "--wait=false")
    assert any("DaemonSet agent" in line and "create  ready" in line for line in said), said
