from typing import Any

import pytest

from tasks.lib.cluster.kinds import Kind, discover, parse
from tasks.lib.errors import Failure
from tests.lib.cluster.scripted import Answer, Scripted

DOCUMENT: dict[str, Any] = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {"name": "apps"},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {
                            "resource": "deployments",
                            "scope": "Namespaced",
                            "responseKind": {"kind": "Deployment"},
                        },
                        {"resource": "odd", "scope": "Cluster", "responseKind": {"kind": ""}},
                    ],
                },
                {"version": "v2"},
            ],
        },
        {
            "metadata": {},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {"resource": "namespaces", "scope": "Cluster", "responseKind": {"kind": "Namespace"}}
                    ],
                }
            ],
        },
    ],
}
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments", namespaced=True)
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)


def test_every_kind_of_every_group_is_found() -> None:
    assert parse(DOCUMENT) == [DEPLOYMENT, NAMESPACE]


def test_a_server_without_the_document_is_too_old() -> None:
    with pytest.raises(Failure, match="does not list its kinds in one document"):
        parse({"kind": "APIVersions"})


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "path"),
    [
        (DEPLOYMENT, "default", "web", "/apis/apps/v1/namespaces/default/deployments/web"),
        (DEPLOYMENT, "default", "", "/apis/apps/v1/namespaces/default/deployments"),
        (DEPLOYMENT, "", "", "/apis/apps/v1/deployments"),
        (NAMESPACE, "", "default", "/api/v1/namespaces/default"),
        (NAMESPACE, "ignored", "default", "/api/v1/namespaces/default"),
    ],
)
def test_paths_are_those_of_the_api(kind: Kind, namespace: str, name: str, path: str) -> None:
    assert kind.path(namespace, name) == path


def test_two_requests_tell_all_kinds(server: Scripted) -> None:
    import json

    server.answers = [Answer(body=json.dumps(DOCUMENT).encode())]
    assert discover(server.api())["apps/v1", "Deployment"] == DEPLOYMENT
    assert [asked.path for asked in server.asked] == ["/api", "/apis"]
