"""`replicas` leaves a manifest, as the documentation of autoscaling asks for."""

import pytest

from tests.deployed import deployed, objects, words, workload
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2,
        "maxReplicas": 10,
    },
}


def replicas(case: Case) -> int:
    found: int = objects(case, "deployments")["Deployment/web"]["spec"]["replicas"]
    return found


@pytest.mark.parametrize(("autoscaled", "left"), [(True, 4), (False, 1)])
def test_an_autoscalers_count_is_kept_and_other_losses_noted(
    environment: Case, autoscaled: bool, left: int
) -> None:
    others = [AUTOSCALER] if autoscaled else []
    environment.hold_only(workload("web", replicas=4), *others)
    deployed(environment)
    assert replicas(environment) == 4
    plan = ("plan", *words()[1:])

    environment.hold_only(workload("web"), *others)
    planned, done = environment.invoke(*plan).stderr, deployed(environment)

    told = "the 4 pods of its autoscaler are kept" if autoscaled else "its 4 pods become 1"
    assert "Deployment web" in planned
    assert told in planned
    assert told in done
    assert replicas(environment) == left
    assert "to change" not in environment.invoke(*plan).stderr
