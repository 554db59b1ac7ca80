from typing import Any

import pytest

from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.objects import (
    Ref,
    as_stored,
    configuration_names,
    contains,
    fingerprint,
    wanted,
)

KINDS = {
    ("v1", "ConfigMap"): Kind("v1", "ConfigMap", "configmaps", namespaced=True),
    ("v1", "Namespace"): Kind("v1", "Namespace", "namespaces", namespaced=False),
}


def rendered(kind: str, namespace: str = "", version: str = "v1") -> dict[str, Any]:
    metadata = {"name": "x", **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


DEFINITION = {
    **rendered("CustomResourceDefinition", version="apiextensions.k8s.io/v1"),
    "spec": {
        "group": "cert-manager.io",
        "scope": "Cluster",
        "names": {"kind": "ClusterIssuer"},
        "versions": [{"name": "v1"}],
    },
}


@pytest.mark.parametrize(
    ("contents", "namespace"),
    [
        ([rendered("ConfigMap")], "lookit"),
        ([rendered("ConfigMap", "other")], "other"),
        ([rendered("Namespace")], ""),
        ([rendered("Namespace", "stray")], ""),
        ([rendered("Unknown", version="example.org/v1")], "lookit"),
        ([rendered("ClusterIssuer", version="cert-manager.io/v1"), DEFINITION], ""),
    ],
    ids=["none given", "given", "of the whole cluster", "stray", "unknown kind", "kind that comes along"],
)
def test_an_object_without_a_namespace_goes_into_the_environments(
    contents: list[dict[str, Any]], namespace: str
) -> None:
    first = wanted(contents, KINDS, "lookit")[0]
    assert first.ref.namespace == namespace
    assert first.body["metadata"].get("namespace", "") == namespace


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})


def test_references_read_as_people_say_them() -> None:
    assert str(Ref("apps/v1", "Deployment", "default", "web")) == "Deployment web"


@pytest.mark.parametrize(
    ("live", "body", "expected"),
    [
        ({"a": 1, "added": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, True),
        ({}, {"a": 1}, False),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"name": "x", "added": 1}]}, {"a": [{"name": "x"}]}, True),
        ({"a": "text"}, {"a": {"b": 1}}, False),
        ({"a": "text"}, {"a": ["text"]}, False),
    ],
)
def test_what_the_server_adds_is_no_difference(live: object, body: object, expected: bool) -> None:
    assert contains(live, body) is expected


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ({"stringData": {"a": "x"}, "data": {"b": "eQ=="}}, {"data": {"a": "eA==", "b": "eQ=="}}),
        ({"stringData": {"a": "x"}, "data": None}, {"data": {"a": "eA=="}}),
        ({"stringData": None}, {}),
        ({"stringData": {"a": 7}}, {"stringData": {"a": 7}}),
        ({"stringData": ["a"]}, {"stringData": ["a"]}),
        ({"stringData": {"a": "half a \ud83d"}}, {"stringData": {"a": "half a \ud83d"}}),
        ({"stringData": {"a": "x"}, "data": "text"}, {"stringData": {"a": "x"}, "data": "text"}),
    ],
    ids=["both", "null data", "null texts", "a number", "a list", "half a character", "malformed data"],
)
def test_secrets_are_applied_as_the_server_stores_them(
    written: dict[str, Any], stored: dict[str, Any]
) -> None:
    assert as_stored({"kind": "Secret", **written}) == {"kind": "Secret", **stored}
    (secret,) = wanted([{**rendered("Secret"), **written}], KINDS, "lookit")
    assert {key: secret.body[key] for key in ("data", "stringData") if key in secret.body} == stored


def test_only_a_secrets_texts_move() -> None:
    thing = {"kind": "ConfigMap", "stringData": {"a": "x"}}
    assert as_stored(thing) == thing


def test_object_names_in_commands_are_quoted() -> None:
    role = Ref("rbac.authorization.k8s.io/v1", "Role", "default", "our $team")
    assert role.command("delete") == "kubectl -n default delete role 'our $team'"


def test_configuration_is_found_wherever_a_pod_reads_it() -> None:
    spec = {
        "initContainers": [{"envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}]}],
        "containers": [
            {
                "env": [
                    {"name": "PLAIN", "value": "x"},
                    {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                    {"valueFrom": {"secretKeyRef": {"name": "d", "key": "k"}}},
                ]
            }
        ],
        "volumes": [
            {"configMap": {"name": "e"}},
            {"secret": {"secretName": "f"}},
            {"emptyDir": {}},
            {"projected": {"sources": [{"configMap": {"name": "g"}}, {"secret": {"name": "h"}}]}},
        ],
    }
    assert configuration_names(spec) == {
        *(("ConfigMap", name) for name in "aceg"),
        *(("Secret", name) for name in "bdfh"),
    }
