"""Kinds besides workloads: waited for by their own status, or said not to be."""

import re
from typing import Any

import pytest

from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

DEPLOY = ("deploy", "--branch", "develop", "--commit", "d" * 40)
SHORT: dict[str, Any] = {"INVOKE_TIME_LIMITS_ROLLOUT": "8s", "INVOKE_DEPLOY_ROLL_BACK": "0"}
SICK = {"sandbox.lookit.org/behave": "never-ready"}


def pod(behaviour: str) -> dict[str, Any]:
    annotations = {"sandbox.lookit.org/behave": behaviour}
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.invalid/nosuch:1"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "task", "annotations": annotations},
        "spec": spec,
    }


def replica_set(behaviour: str) -> dict[str, Any]:
    template = {**pod(behaviour), "metadata": {**pod(behaviour)["metadata"], "labels": {"app": "extra"}}}
    del template["metadata"]["name"], template["apiVersion"], template["kind"]
    template["spec"] = {"containers": template["spec"]["containers"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "extra"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "task"}, "spec": spec}


@pytest.mark.parametrize(
    "thing", [pod("image-pull-error"), replica_set("image-pull-error")], ids=["Pod", "ReplicaSet"]
)
def test_what_runs_pods_without_a_deployment_is_judged_by_them(
    environment: Case, thing: dict[str, Any]
) -> None:
    environment.add(thing)

    done = environment.invoke(*DEPLOY, **SHORT)

    assert done.returncode == 1, done.stderr
    assert f"{thing['kind']} {environment.name}-task cannot become ready." in done.stderr
    assert "the image does not exist" in done.stderr


def certificate(**annotations: str) -> dict[str, Any]:
    spec = {"secretName": "own-cert", "dnsNames": ["example.org"], "issuerRef": {"name": "acme"}}
    metadata = {"name": "cert", "annotations": annotations}
    return {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec}


def test_a_certificate_that_is_not_issued_is_waited_for_until_the_limit(environment: Case) -> None:
    environment.add(certificate(**SICK))

    done = environment.invoke(*DEPLOY, **SHORT)

    assert done.returncode == 70, done.stderr
    assert f"Certificate {environment.name}-cert: waiting: Pending: told to be so" in done.stderr


def test_claims_and_certificates_become_ready_and_the_rest_is_said_in_words(environment: Case) -> None:
    environment.add(certificate())
    at_once = {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "at-once"},
        "provisioner": "pd.csi.storage.gke.io", "volumeBindingMode": "Immediate",
    }  # fmt: skip
    environment.add(at_once)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    environment.add(
        {
            **claim,
            "metadata": {"name": "soon"},
            "spec": {**spec, "storageClassName": "at-once"},
        }
    )
    environment.add({**claim, "metadata": {"name": "late"}, "spec": {**spec, "storageClassName": "standard"}})

    done = environment.invoke(*DEPLOY)

    assert done.returncode == 0, done.stderr
    name = environment.name
    for thing in (f"PersistentVolumeClaim {name}-soon", f"Certificate {name}-cert"):
        assert re.search(rf" {thing} +create +ready ", done.stderr), done.stderr
    assert (
        f"Nobody waited for PersistentVolumeClaim {name}-late: a pod that uses it waits for its volume."
        in done.stderr
    )
    assert "deploy.addresses in invoke.yaml has addresses waited for." in done.stderr
    assert "own-cert" in environment.kubectl("get", "secrets", "-o", "name")
