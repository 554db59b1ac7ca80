"""What is refused before the cluster is asked anything."""

from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster.gke import Connection, Found
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.objects import Ref, wanted
from tasks.lib.deploy.plan.plan import Choices, Destination, make, needed, unknown_kind
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.cluster.scripted import scripted, status

DEFINITIONS = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
SERVED = {DEFINITIONS: Kind(*DEFINITIONS, "customresourcedefinitions", namespaced=False)}


def definition(group: str, version: str, *, served: bool) -> dict[str, Any]:
    return {
        "apiVersion": DEFINITIONS[0],
        "kind": DEFINITIONS[1],
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": version, "served": served}],
        },
    }


@pytest.mark.parametrize(
    ("brought", "fault"),
    [
        (definition("example.org", "v1", served=True), "The cluster refused to say whether we may create"),
        (definition("example.com", "v1", served=True), "does not know the kind Widget of example.org/v1"),
        (definition("example.org", "v2", served=True), "does not know the kind Widget of example.org/v1"),
        (definition("example.org", "v1", served=False), "does not know the kind Widget of example.org/v1"),
    ],
    ids=["the same", "of another group", "in another version", "not served"],
)
def test_a_definition_brings_kinds_of_its_group_and_version(
    tmp_path: Path, brought: dict[str, Any], fault: str
) -> None:
    settings = checked_in_settings()
    widget = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "one"}}
    objects = wanted([brought, widget], SERVED, "default")
    with scripted(tmp_path) as server:
        server.answers = [status(418, "Teapot", "enough")]
        connection = Connection(Found("p", "l", "n", server.endpoint), server.api(), SERVED)

        with pytest.raises(Failure, match=fault):
            make(Destination(settings, settings.environment("staging"), connection), objects, Choices())


@pytest.mark.parametrize(
    ("version", "kind", "served", "why"),
    [
        (
            "extensions/v1beta1",
            "Ingress",
            "networking.k8s.io/v1",
            "It knows Ingress of networking.k8s.io/v1.",
        ),
        (
            "cert-manager.io/v1alpha2",
            "Issuer",
            "cert-manager.io/v1",
            "It knows Issuer of cert-manager.io/v1.",
        ),
        ("serving.knative.dev/v1", "Service", "v1", "Service it cannot be applied without its Custom"),
    ],
    ids=["moved to another group", "an older version", "another's kind of the same name"],
)
def test_a_removed_api_version_is_told_with_the_served_ones(
    version: str, kind: str, served: str, why: str
) -> None:
    kinds = {(served, kind): Kind(served, kind, "things", namespaced=True)}

    assert unknown_kind(Ref(version, kind, "default", "it"), kinds).why.startswith(why)


def test_a_definition_of_a_removed_api_version_is_refused(tmp_path: Path) -> None:
    old = {**definition("example.org", "v1", served=True), "apiVersion": "apiextensions.k8s.io/v1beta1"}
    old["spec"] = {"group": "example.org", "version": "v1", "names": {"kind": "Widget", "plural": "widgets"}}
    settings, objects = checked_in_settings(), wanted([old], SERVED, "default")
    with scripted(tmp_path) as server:
        connection = Connection(Found("p", "l", "n", server.endpoint), server.api(), SERVED)

        with pytest.raises(Failure, match="does not know the kind CustomResourceDefinition") as caught:
            make(Destination(settings, settings.environment("staging"), connection), objects, Choices())

    assert caught.value.why == "It knows CustomResourceDefinition of apiextensions.k8s.io/v1."


def test_targets_are_watched_in_their_namespaces(tmp_path: Path) -> None:
    keys = DEFINITIONS, ("apps/v1", "DaemonSet"), ("v1", "Pod"), ("v1", "Event")
    kinds = {key: Kind(*key, f"{key[1].lower()}s", namespaced=key != DEFINITIONS) for key in keys}
    agent = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "logs"}}
    objects = wanted([definition("example.org", "v1", served=True), agent], kinds, "default")
    settings = checked_in_settings()
    with scripted(tmp_path) as server:
        connection = Connection(Found("p", "l", "n", server.endpoint), server.api(), kinds)

        environment = settings.environment("staging")
        asked = {str(one) for one in needed(Destination(settings, environment, connection), objects)}

    assert asked >= {
        "watch daemonsets.apps in namespace logs",
        "watch pods in namespace logs",
        "delete pods in namespace logs",
        "get pods/log in namespace logs",
        "watch events in namespace logs",
        "watch customresourcedefinitions.apiextensions.k8s.io in the whole cluster",
    }
