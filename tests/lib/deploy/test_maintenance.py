"""What a release wants while maintenance mode is on, and the page that visitors get."""

import copy
import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tasks.lib.deploy import maintenance
from tasks.lib.deploy.maintenance import LABEL, REPLICAS, SELECTOR, Maintenance, Stage
from tasks.lib.deploy.objects import Wanted, ref_of
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.heard import until
from tests.ports import free_port

STAGING = checked_in_settings().environment("staging")
APP = "gcr.io/mit-lookit/lookit"
PINNED = f"{APP}:1@sha256:{'b' * 64}"
ON = Maintenance(Stage.ON, "Back at <10:00>.", "kim@laptop", "2026-11-30T02:00:00+00:00", PINNED)

Thing = dict[str, Any]


def workload(name: str, image: str = PINNED, kind: str = "Deployment", **spec: Any) -> Thing:
    labels = {"app": name}
    ports = [
        {"name": "http", "containerPort": 8080, "protocol": "TCP"},
        {"name": "stats", "containerPort": 1717},
    ]
    container = {"name": "main", "image": image, "ports": ports}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": f"staging-{name}", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}, **spec,
        },
    }  # fmt: skip


def service(name: str, **ports: Any) -> Thing:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": f"staging-{name}", "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, **ports}]},
    }  # fmt: skip


RELEASE = (
    workload("web", replicas=3),
    service("web", targetPort="http"),
    workload("worker", replicas=2),
    workload("builder", kind="StatefulSet"),
    workload("rabbitmq", "rabbitmq:4"),
    service("rabbitmq"),
)


def wanted(*things: Thing) -> list[Wanted]:
    return [Wanted(ref_of(one), copy.deepcopy(one)) for one in things]


def formed(*things: Thing, now: Maintenance | None = ON) -> dict[str, Thing]:
    found = maintenance.formed(wanted(*things), now, STAGING, APP)
    return {f"{w.ref.kind}/{w.ref.name}": w.body for w in found}


def test_meanwhile_services_select_the_page_and_workers_have_no_pods() -> None:
    found = formed(*RELEASE)

    turned = found["Service/staging-web"]
    assert turned["spec"]["selector"] == {LABEL: "maintenance"}
    assert turned["metadata"]["annotations"] == {SELECTOR: '{"app": "web"}'}
    assert turned["spec"]["ports"] == [{"port": 80, "targetPort": "http"}]
    worker, builder = found["Deployment/staging-worker"], found["StatefulSet/staging-builder"]
    assert (worker["spec"]["replicas"], builder["spec"]["replicas"]) == (0, 0)
    assert worker["metadata"]["annotations"] == {REPLICAS: "2"}
    assert builder["metadata"]["annotations"] == {REPLICAS: "1"}


def test_web_and_what_is_not_the_application_stay() -> None:
    found = formed(*RELEASE)

    for thing in (RELEASE[0], RELEASE[4], RELEASE[5]):
        assert found[f"{thing['kind']}/{thing['metadata']['name']}"] == thing
    assert len(found) == len(RELEASE) + 1


@pytest.mark.parametrize(
    "now",
    [None, replace(ON, stage=Stage.PREPARING), replace(ON, stage=Stage.ENDING)],
    ids=["off", "page not ready", "ending"],
)
def test_otherwise_a_release_wants_what_it_says(now: Maintenance | None) -> None:
    assert list(formed(*RELEASE, now=now).values()) == list(RELEASE)


def test_a_release_without_web_has_no_page() -> None:
    assert list(formed(*RELEASE[1:]).keys())[-1] == "Service/staging-rabbitmq"


def test_the_page_has_no_secrets_and_few_rights() -> None:
    web = copy.deepcopy(RELEASE[0])
    web["spec"]["template"]["spec"] |= {
        "imagePullSecrets": [{"name": "registry"}], "serviceAccountName": "app", "nodeSelector": {"disk": "ssd"},
        "volumes": [{"name": "credentials", "secret": {"secretName": "s"}}],
    }  # fmt: skip

    page = formed(web, RELEASE[1])["Deployment/staging-maintenance"]
    pod = page["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod.keys() == {
        "containers", "automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets", "nodeSelector",
    }  # fmt: skip
    assert container["image"] == PINNED
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert [one["name"] for one in container["env"]] == ["PAGE"]
    assert container["securityContext"] == {
        "runAsUser": 65534, "runAsNonRoot": True, "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        ({"targetPort": "http"}, [{"name": "http", "containerPort": 8080}]),
        ({"targetPort": 1717}, [{"name": "stats", "containerPort": 1717}]),
        ({"targetPort": 9000}, [{"containerPort": 9000}]),
        ({}, [{"containerPort": 80}]),
    ],
    ids=["by name", "by number", "unnamed", "as the service's own"],
)
def test_the_page_listens_where_web_did(ports: Mapping[str, Any], found: list[Thing]) -> None:
    page = formed(RELEASE[0], service("web", **ports))["Deployment/staging-maintenance"]

    assert page["spec"]["template"]["spec"]["containers"][0]["ports"] == found


def test_a_site_without_a_service_cannot_show_a_page() -> None:
    with pytest.raises(Failure, match="No Service sends requests to staging-web"):
        formed(RELEASE[0], service("rabbitmq"))


def test_what_is_noted_is_read_again() -> None:
    assert maintenance.noted(maintenance.config_map(ON)) == ON
    assert maintenance.among([{"metadata": {"name": "other"}}, maintenance.config_map(ON)]) == ON
    assert maintenance.noted({"data": {"stage": "edited"}}).stage is Stage.ON


@pytest.fixture(scope="module")
def served() -> Iterator[int]:
    """The page on a port of this machine."""
    port = free_port()
    environment = {"PAGE": maintenance.text_of(ON.message)}
    argv = [sys.executable, "-I", "-c", maintenance.SERVER, str(port)]
    process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE)
    try:
        until(lambda: listens(port), pause=0.01)
        yield port
        process.terminate()
        assert process.wait(60) == 0
        assert process.stderr
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.communicate()


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def asked(
    port: int, method: str = "GET", body: bytes | None = None, agent: str = "Mozilla/5.0"
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, "/any/path?x=1", body=body, headers={"User-Agent": agent})
    return connection.getresponse()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_visitors_get_the_page_whatever_they_ask(served: int, method: str) -> None:
    answer = asked(served, method, b"x" * 3_000_000 if method in {"POST", "PUT"} else None)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "300")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Back at &lt;10:00&gt;." in answer.read().decode()


def test_a_head_request_gets_no_body(served: int) -> None:
    answer = asked(served, "HEAD")

    assert (answer.status, answer.read()) == (503, b"")


@pytest.mark.parametrize("agent", ["kube-probe/1.34", "GoogleHC/1.0"])
def test_health_checks_find_the_page_healthy(served: int, agent: str) -> None:
    assert asked(served, agent=agent).status == 200


def test_a_page_without_a_message_says_something() -> None:
    assert maintenance.DEFAULT in maintenance.text_of("")
