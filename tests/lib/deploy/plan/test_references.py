"""References of pods and Ingresses that lead nowhere."""

from typing import Any

import pytest

from tasks.lib.deploy.objects import ref_of
from tasks.lib.deploy.plan.references import made_later, missing, needs_of
from tests.kubernetes.rendering import build_release

SETTINGS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "settings", "namespace": "default"},
    "data": {"SENTRY_DSN": "", "DB_HOST": ""},
}
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "config", "namespace": "default"},
    "data": {"uwsgi.ini": ""},
    "binaryData": {"logo.png": ""},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"ports": [{"name": "http", "port": 80}]},
}


def thing(kind: str, spec: dict[str, Any], version: str = "apps/v1", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "it", "namespace": "default", **metadata},
        "spec": spec,
    }


def web(container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    """A Deployment with one container."""
    spec = {"containers": [{"name": "uwsgi", **(container or {})}], **pod}
    return thing("Deployment", {"template": {"spec": spec}})


def told(*objects: dict[str, Any], live: tuple[dict[str, Any], ...] = ()) -> list[str]:
    by_ref = {ref_of(one): one for one in objects}
    there = {**{ref_of(one): one for one in (SETTINGS, CONFIG, SERVICE, *live)}, **by_ref}
    made = {target for ref, body in by_ref.items() for target in made_later(ref, body)}
    needs = [need for ref, body in by_ref.items() for need in needs_of(ref, body) if need.target not in made]
    return missing(needs, there)


def variable(field: str, **named: Any) -> dict[str, Any]:
    return {"env": [{"name": "A", "valueFrom": {field: named}}]}


def source(field: str, **named: Any) -> dict[str, Any]:
    return {"envFrom": [{field: named}]}


def volume(**content: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "files", **content}]}


def claim_template(storage_class: str) -> dict[str, Any]:
    return {"metadata": {"name": "data"}, "spec": {"storageClassName": storage_class}}


@pytest.mark.parametrize(
    ("workload", "line"),
    [
        (web(priorityClassName="urgent"), "Deployment it: PriorityClass urgent does not exist"),
        (
            thing("StatefulSet", {"serviceName": "queue"}),
            "StatefulSet it, serviceName: Service queue does not exist",
        ),
        (
            thing("StatefulSet", {"volumeClaimTemplates": [claim_template("fast")]}),
            "StatefulSet it, claim template data: StorageClass fast does not exist",
        ),
        (
            thing("PersistentVolumeClaim", {"storageClassName": "fast"}, "v1"),
            "PersistentVolumeClaim it: StorageClass fast does not exist",
        ),
        (
            web(source("secretRef", name="setings")),
            "Deployment it, container uwsgi: Secret setings does not exist; nearest: settings",
        ),
        (
            web(source("configMapRef", name="other")),
            "Deployment it, container uwsgi: ConfigMap other does not exist",
        ),
        (
            web(variable("secretKeyRef", name="settings", key="SENTRY_DNS")),
            "Deployment it, container uwsgi: Secret settings has no key SENTRY_DNS; nearest: SENTRY_DSN",
        ),
        (
            web(variable("configMapKeyRef", name="config", key="nothing-like-it")),
            "Deployment it, container uwsgi: ConfigMap config has no key nothing-like-it; "
            "it has uwsgi.ini",
        ),
        (
            web(variable("configMapKeyRef", name="config", key="logo.png")),
            "Deployment it, container uwsgi: ConfigMap config has no key logo.png; it has uwsgi.ini",
        ),
        (
            web(initContainers=[{"name": "wait", **variable("secretKeyRef", name="none", key="A")}]),
            "Deployment it, init container wait: Secret none does not exist",
        ),
        (
            web({"volumeMounts": [{"name": "files"}]}, **volume(secret={"secretName": "none"})),
            "Deployment it, volume files of container uwsgi: Secret none does not exist",
        ),
        (
            web(**volume(configMap={"name": "config", "items": [{"key": "uwsgi.conf"}]})),
            "Deployment it, volume files: ConfigMap config has no key uwsgi.conf; nearest: uwsgi.ini",
        ),
        (
            web(**volume(projected={"sources": [{"secret": {"name": "none"}}]})),
            "Deployment it, volume files: Secret none does not exist",
        ),
        (
            web(**volume(projected={"sources": [{"configMap": {"name": "none"}}]})),
            "Deployment it, volume files: ConfigMap none does not exist",
        ),
        (
            web(**volume(persistentVolumeClaim={"claimName": "none"})),
            "Deployment it, volume files: PersistentVolumeClaim none does not exist",
        ),
        (web(serviceAccountName="nobody"), "Deployment it: ServiceAccount nobody does not exist"),
        (
            web(imagePullSecrets=[{"name": "none"}]),
            "Deployment it, image pull secret: Secret none does not exist",
        ),
        (
            {**thing("ServiceAccount", {}, "v1"), "imagePullSecrets": [{"name": "none"}]},
            "ServiceAccount it, image pull secret: Secret none does not exist",
        ),
    ],
    ids=[
        "priority class", "service of a StatefulSet", "class of a template", "class of a claim",
        "all of a Secret", "all of a ConfigMap", "a Secret's key", "a ConfigMap's key", "binary data as a variable", "an init container's",
        "a volume's Secret", "a volume's key", "a projected Secret", "a projected ConfigMap", "a claim",
        "a service account", "a pull secret", "a service account's pull secret",
    ],
)  # fmt: skip
def test_a_missing_reference_is_told_with_its_place(workload: dict[str, Any], line: str) -> None:
    assert told(workload) == [line]


@pytest.mark.parametrize(
    "workload",
    [
        web(source("secretRef", name="none", optional=True)),
        web(source("configMapRef", name="none", optional=True)),
        web(variable("secretKeyRef", name="settings", key="none", optional=True)),
        web(variable("configMapKeyRef", name="none", key="none", optional=True)),
        web(**volume(secret={"secretName": "none", "optional": True})),
        web(**volume(configMap={"name": "config", "optional": True, "items": [{"key": "none"}]})),
        web(**volume(projected={"sources": [{"secret": {"name": "none", "optional": True}}]})),
        web(serviceAccountName="default"),
        web(**volume(configMap={"name": "config", "items": [{"key": "logo.png"}]})),
        web(variable("fieldRef", fieldPath="metadata.name")),
        web(**volume(emptyDir={})),
    ],
    ids=[
        "optional Secret", "optional ConfigMap", "optional key", "optional key of none", "optional volume",
        "optional items", "optional projected", "the account that is always there", "binary data", "a field",
        "an empty folder",
    ],
)  # fmt: skip
def test_optional_or_existing_references_are_not_told(workload: dict[str, Any]) -> None:
    assert told(workload) == []


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Pod", {"containers": [{"name": "uwsgi", **source("secretRef", name="none")}]}),
        (
            "CronJob",
            {"jobTemplate": {"spec": web(source("secretRef", name="none"))["spec"]}},
        ),
        ("StatefulSet", web(source("secretRef", name="none"))["spec"]),
    ],
)
def test_pods_are_found_in_whatever_makes_them(kind: str, spec: dict[str, Any]) -> None:
    assert told(thing(kind, spec)) == [f"{kind} it, container uwsgi: Secret none does not exist"]


def test_the_same_reference_is_told_once() -> None:
    twice = {"envFrom": [{"secretRef": {"name": "none"}}], **variable("secretKeyRef", name="none", key="A")}

    assert len(told(web(twice))) == 1


def test_stringdata_and_a_tokens_own_keys_are_keys() -> None:
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "namespace": "default"},
        "type": "kubernetes.io/service-account-token",
        "stringData": {"extra": ""},
    }
    named = [{"name": "token", "items": [{"key": "token"}, {"key": "ca.crt"}, {"key": "extra"}]}]

    assert told(token, web(**volume(projected={"sources": [{"secret": one} for one in named]}))) == []


def ingress(backend: dict[str, Any], secret: str = "", **annotations: str) -> dict[str, Any]:
    spec = {
        "rules": [{"http": {"paths": [{"path": "/", "backend": {"service": backend}}]}}],
        "tls": [{"secretName": secret}] if secret else [],
    }
    return thing("Ingress", spec, "networking.k8s.io/v1", annotations=annotations)


HTTP = {"name": "web", "port": {"name": "http"}}


@pytest.mark.parametrize(
    ("backend", "lines"),
    [
        (HTTP, []),
        ({"name": "web", "port": {"number": 80}}, []),
        (
            {"name": "web", "port": {"number": 8000}},
            ["Ingress it, backend: Service web has no port 8000; nearest: 80"],
        ),
        ({"name": "storage", "port": {"number": 443}}, []),
        (
            {"name": "webb", "port": {"name": "http"}},
            ["Ingress it, backend: Service webb does not exist; nearest: web"],
        ),
    ],
)
def test_the_services_behind_an_ingress_have_to_be_there(backend: dict[str, Any], lines: list[str]) -> None:
    storage = thing("Service", {"type": "ExternalName", "externalName": "storage.googleapis.com"}, "v1")
    storage["metadata"]["name"] = "storage"

    assert told(ingress(backend), live=(storage,)) == lines


CERTIFICATE = thing("Certificate", {"secretName": "cert"}, "cert-manager.io/v1")


@pytest.mark.parametrize(
    ("objects", "lines"),
    [
        ([ingress(HTTP, "cert")], ["Ingress it, TLS: Secret cert does not exist"]),
        ([ingress(HTTP, "cert", **{"cert-manager.io/cluster-issuer": "acme"})], []),
        ([ingress(HTTP, "cert", **{"cert-manager.io/issuer": "acme"})], []),
        ([ingress(HTTP, "cert", **{"kubernetes.io/tls-acme": "true"})], []),
        ([ingress(HTTP, "cert"), CERTIFICATE], []),
    ],
    ids=["nobody issues it", "by a ClusterIssuer", "by an Issuer", "by the default", "by a Certificate"],
)
def test_a_tls_secret_of_cert_manager_is_not_missing(objects: list[dict[str, Any]], lines: list[str]) -> None:
    assert told(*objects) == lines


def test_claims_that_a_stateful_set_makes_are_not_missing() -> None:
    templates = [{"metadata": {"name": "data"}}]
    database = {**web(), "kind": "StatefulSet"}
    database["spec"] = {**database["spec"], "replicas": 2, "volumeClaimTemplates": templates}
    copying = thing(
        "Job", web(**volume(persistentVolumeClaim={"claimName": "data-it-1"}))["spec"], "batch/v1"
    )

    assert told(database, copying) == []


def test_what_is_in_another_namespace_does_not_count() -> None:
    elsewhere = {**SETTINGS, "metadata": {"name": "far", "namespace": "other"}}

    assert told(web(source("secretRef", name="far")), live=(elsewhere,)) == [
        "Deployment it, container uwsgi: Secret far does not exist"
    ]


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_everything_that_the_tree_names_is_in_it(environment: str) -> None:
    tree = build_release(environment, "b" * 40, "v2.0")
    objects = [
        one
        if one["kind"] == "StorageClass"
        else {**one, "metadata": {"namespace": "default", **one["metadata"]}}
        for one in tree.objects.values()
    ]
    standard = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "standard"}}

    assert told(*objects, live=(standard,)) == []
