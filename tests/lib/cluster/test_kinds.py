import json
from typing import Any

import pytest

from tasks.lib.cluster import kinds
from tasks.lib.cluster.kinds import Kind, discover, discover_with, parse
from tasks.lib.errors import Failure
from tests.clock import Clock
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


def test_two_requests_list_all_kinds(server: Scripted) -> None:
    server.answers = [Answer(body=json.dumps(DOCUMENT).encode())]
    assert discover(server.api())["apps/v1", "Deployment"] == DEPLOYMENT
    assert sorted(asked.path for asked in server.asked) == ["/api", "/apis"]


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(kinds, "time", clock)
    return clock


def test_a_newly_defined_kind_is_waited_for(server: Scripted, clock: Clock) -> None:
    before, after = ({**DOCUMENT, "items": DOCUMENT["items"][place:]} for place in (1, 0))
    early, late = (Answer(body=json.dumps(document).encode()) for document in (before, after))
    server.answers = [early, early, early, early, late]

    found = discover_with(server.api(), {("apps/v1", "Deployment"), ("v1", "Namespace")})

    assert found["apps/v1", "Deployment"] == DEPLOYMENT
    assert len(server.asked) == 6
    assert len(clock.slept) == 2


def test_a_kind_that_is_never_served_times_out(server: Scripted, clock: Clock) -> None:
    server.answers = [Answer(body=json.dumps(DOCUMENT).encode())]

    assert ("example.org/v1", "Widget") not in discover_with(
        server.api(total=1), {("example.org/v1", "Widget")}
    )
    assert 0.9 < sum(clock.slept) < 1.5
