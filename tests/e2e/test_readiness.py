"""Kinds besides workloads: waited for by their own status, or said not to be."""

import re
from functools import partial
from typing import Any

import pytest

from tests.clock import patience
from tests.deployed import SERVICE, deploy, deployed
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

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
    environment.hold_only(thing)

    done = deploy(environment)

    assert done.code == 1, done.stderr
    assert f"{thing['kind']} task cannot become ready." in done.stderr
    assert "the image does not exist" in done.stderr


def certificate(**annotations: str) -> dict[str, Any]:
    spec = {"secretName": "own-cert", "dnsNames": ["example.org"], "issuerRef": {"name": "acme"}}
    metadata = {"name": "cert", "annotations": annotations}
    return {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec}


def test_an_unissued_certificate_times_out(environment: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.hold_only(certificate(**SICK))
    late = partial(patience(monkeypatch).sleep, 11 * 60)

    done = deploy(environment.hearing({"Certificate cert: Pending: set by annotation": late}))

    assert done.code == 70, done.stderr
    assert "Certificate cert: waiting: Pending: set by annotation" in done.stderr


def claim(name: str, storage_class: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    whole = {**spec, "storageClassName": storage_class}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": whole}


def ingress() -> dict[str, Any]:
    backend = {"service": {"name": "new-service", "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "way-in"},
        "spec": {"defaultBackend": backend},
    }  # fmt: skip


def test_claims_and_certificates_are_waited_for(environment: Case) -> None:
    own = f"{environment.name}-at-once"
    at_once = {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": own},
        "provisioner": "pd.csi.storage.gke.io", "volumeBindingMode": "Immediate",
    }  # fmt: skip
    claims = claim("soon", own), claim("late", "standard")
    environment.hold_only(certificate(), at_once, *claims, SERVICE, ingress())

    told = deployed(environment)

    environment.api.delete(f"/apis/storage.k8s.io/v1/storageclasses/{own}")
    for thing in ("PersistentVolumeClaim soon", "Certificate cert"):
        assert re.search(rf" {thing} +create +ready ", told), told
    assert (
        "Not waited for: PersistentVolumeClaim late (its volume is bound when a pod first uses it)." in told
    )
    assert "(deploy.addresses in invoke.yaml says whether to wait for addresses)." in told
    assert "own-cert" in environment.kubectl("get", "secrets", "-o", "name")
