"""`replicas` leaves a manifest, as the documentation of autoscaling asks for."""

import pytest
import yaml

from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

DEPLOY = ("deploy", "--branch", "develop", "--commit", "d" * 40)


def drop_replicas(case: Case) -> None:
    path = case.tree / "base/application/web/deployment.yaml"
    document = yaml.safe_load(path.read_text())
    del document["spec"]["replicas"]
    path.write_text(yaml.safe_dump(document))


def replicas(case: Case) -> str:
    return case.kubectl("get", "deployment", f"{case.name}-web", "-o", "jsonpath={.spec.replicas}")


@pytest.mark.parametrize(("autoscaled", "left"), [(True, "4"), (False, "1")])
def test_the_autoscalers_count_is_kept_and_other_pods_are_told_to_go(
    environment: Case, autoscaled: bool, left: str
) -> None:
    environment.patch("Deployment", "web", {"spec": {"replicas": 4}})
    if autoscaled:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 10}
        meta = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
        }
        environment.add({**meta, "spec": spec})
    first = environment.invoke(*DEPLOY)
    assert first.returncode == 0, first.stderr
    assert replicas(environment) == "4"

    drop_replicas(environment)
    environment.patch("Deployment", "web", {"spec": {"replicas": None}})
    planned, done = environment.invoke("plan", *DEPLOY[1:]), environment.invoke(*DEPLOY)

    assert done.returncode == 0, done.stderr
    told = "the 4 pods that its autoscaler wants stay" if autoscaled else "its 4 pods become 1"
    assert f"Deployment {environment.name}-web" in planned.stderr
    assert told in planned.stderr
    assert told in done.stderr
    assert replicas(environment) == left
    assert "to change" not in environment.invoke("plan", *DEPLOY[1:]).stderr
