import json
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.lib import retry, signals
from tasks.lib.cluster import api
from tasks.lib.cluster.api import Api, encoded
from tasks.lib.cluster.endpoint import Endpoint
from tasks.lib.cluster.errors import ApiError, Unreachable
from tests.characters import ANY
from tests.clock import Clock
from tests.lib.cluster.scripted import Answer, Scripted, status


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(retry, "time", clock)
    monkeypatch.setattr(
        api, "signals", SimpleNamespace(Event=clock.event, in_main_thread=signals.in_main_thread)
    )
    return clock


def things(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


def listing(items: list[Any], version: str = "7", following: str = "") -> Answer:
    metadata = {"resourceVersion": version, "continue": following}
    return Answer(body=json.dumps({"items": items, "metadata": metadata}).encode())


def test_a_request_carries_token_query_and_json(server: Scripted) -> None:
    server.answers = [Answer(body=b'{"kind": "ConfigMap"}')]

    answer = server.api().apply("/api/v1/configmaps/x", {"a": 1}, doing="apply it", query={"dryRun": "All"})

    assert answer == {"kind": "ConfigMap"}
    asked = server.asked[0]
    assert (asked.method, asked.body) == ("PATCH", b'{"a":1}')
    assert asked.path == (
        "/api/v1/configmaps/x?fieldManager=lookit-orchestrator&fieldValidation=Strict&dryRun=All"
    )
    assert asked.headers["Authorization"] == "Bearer a-token"
    assert asked.headers["Content-Type"] == "application/apply-patch+yaml"


@given(st.text(ANY))
@example('🚀 \x7f\x85\x9f\u2028\u2029\ufeff\ufffe \\ud83d "quoted"\t\r\n')
def test_sent_json_is_also_valid_yaml(text: str) -> None:
    sent = encoded({"text": text})
    assert json.loads(sent) == yaml.load(sent.decode(), yaml.CSafeLoader) == {"text": text}


@pytest.mark.parametrize(
    "fault",
    [
        Answer(0),
        status(503, "ServiceUnavailable", "starting"),
        status(429, "TooManyRequests", "later"),
        Answer(502),
    ],
    ids=["connection dropped", "starting", "overloaded", "proxy without a server"],
)
def test_a_temporary_error_is_tried_again(server: Scripted, clock: Clock, fault: Answer) -> None:
    server.answers = [fault, fault, Answer(body=b'{"done": true}')]

    assert server.api().get("/x", doing="read x") == {"done": True}
    assert len(server.asked) == 3
    assert len(clock.slept) == 2


def test_the_server_may_say_how_long_to_wait(server: Scripted, clock: Clock) -> None:
    server.answers = [
        replace(status(429, "TooManyRequests", "later"), headers={"Retry-After": "1"}),
        Answer(),
    ]

    server.api().get("/x", doing="read x")

    (slept,) = clock.slept
    assert slept >= 0.75


def test_the_last_error_is_raised_after_the_time_limit(server: Scripted, clock: Clock) -> None:
    server.answers = [status(503, "ServiceUnavailable", "etcd is full")]

    with pytest.raises(ApiError) as caught:
        server.api(total=10).get("/x", doing="read x")

    assert (caught.value.status, caught.value.message) == (503, "etcd is full")
    assert len(server.asked) == len(clock.slept) + 1
    assert 5 < sum(clock.slept) <= 10


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 410, 422])
def test_a_permanent_refusal_is_not_tried_again(server: Scripted, code: int) -> None:
    server.answers = [status(code, "Reason", "its words")]

    with pytest.raises(ApiError, match=f"The cluster refused to read x \\({code} Reason\\)"):
        server.api().get("/x", doing="read x")

    assert len(server.asked) == 1


def test_a_full_store_fails_at_once(server: Scripted) -> None:
    server.answers = [status(500, "", "etcdserver: mvcc: database space exceeded")]

    with pytest.raises(ApiError) as caught:
        server.api().get("/x", doing="read x")

    assert len(server.asked) == 1
    assert "etcd is full" in caught.value.next_step


@pytest.mark.parametrize(
    "words",
    [
        "failed to create typed patch object (staging/x; /v1, Kind=ConfigMap): .data.a: expected string",
        "failed to create typed patch object (staging/x; apps/v1, Kind=Deployment): .spec.x: field not declared",
        "failed to create typed patch object (/x; rbac.authorization.k8s.io/v1, Kind=ClusterRole): .x: no",
        "failed to convert new object (staging/x; /v1, Kind=Secret) to proper version: unable to convert "
        "unstructured object to /v1, Kind=Secret: error decoding from json: illegal base64 data",
    ],
    ids=["a number for text", "a field of a workload", "a field of a role", "a value that is no base64"],
)
def test_an_object_with_a_schema_error_is_not_retried(server: Scripted, words: str) -> None:
    server.answers = [status(500, "", words)]

    with pytest.raises(ApiError) as caught:
        server.api().apply("/x", {}, doing="apply x")

    assert len(server.asked) == 1
    assert caught.value.next_step == "Fix the manifest at the field named above."


@pytest.mark.parametrize(
    "words",
    [
        "failed to create typed patch object (/x; cert-manager.io/v1, Kind=ClusterIssuer): .x: field not declared",
        "failed to convert new object (/x; apps/v1, Kind=Deployment) to proper version: conversion webhook failed",
        "etcdserver: request timed out",
    ],
    ids=["a definition that was just changed", "a webhook that converts", "the store"],
)
def test_other_errors_of_the_server_are_temporary(server: Scripted, words: str) -> None:
    server.answers = [status(500, "", words), Answer()]

    assert server.api().apply("/x", {}, doing="apply x") == {}


def test_an_unreachable_server_is_named(clock: Clock) -> None:
    absent = Scripted(Endpoint("https://127.0.0.1:9")).api()

    with pytest.raises(Unreachable, match="https://127.0.0.1:9 could not be reached") as caught:
        absent.get("/x", doing="read x")

    assert "refused" in caught.value.why


def test_a_server_with_another_certificate_is_refused(server: Scripted, clock: Clock) -> None:
    server.answers = [Answer()]
    stranger = replace(server, endpoint=Endpoint(server.endpoint.server)).api()

    with pytest.raises(Unreachable) as caught:
        stranger.get("/x", doing="read x")

    assert "certificate verify failed" in caught.value.why
    assert not server.asked


def test_a_list_comes_page_by_page(server: Scripted) -> None:
    server.answers = [listing(things("a", "b"), following="token"), listing(things("c"), version="8")]

    assert server.api().list("/things", doing="list things") == (things("a", "b", "c"), "8")
    assert [asked.path for asked in server.asked] == ["/things?limit=500", "/things?limit=500&continue=token"]


def test_a_list_whose_pages_expired_is_read_again(server: Scripted) -> None:
    gone = status(410, "Expired", "too old")
    server.answers = [listing(things("a"), following="token"), gone, listing(things("a", "b"))]

    assert server.api().list("/things", doing="list things") == (things("a", "b"), "7")


def test_a_list_that_expired_from_the_start_is_an_error(server: Scripted) -> None:
    server.answers = [status(410, "Expired", "too old")]

    with pytest.raises(ApiError) as caught:
        server.api().list("/things", doing="list things")

    assert caught.value.status == 410
    assert len(server.asked) == 1


def test_the_proxy_is_used_unless_no_proxy_excludes_it(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [Answer()]
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        asking = threading.Thread(target=suppressed, args=(server.api(total=0.1),))
        asking.start()
        connection, _ = proxy.accept()
        with connection:
            host = server.endpoint.server.removeprefix("https://")
            assert connection.recv(4096).startswith(f"CONNECT {host} HTTP/1.".encode())
    asking.join()  # now that the proxy is closed: a second connection to it would wait for an answer

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert server.api().get("/x", doing="read x") == {}


def suppressed(asking: Api) -> None:
    with suppress(Unreachable):
        asking.get("/x", doing="read x")


@pytest.mark.parametrize(
    "body", [b"<html>Log in first</html>", b"[]", b'"yes"'], ids=["a page", "a list", "a text"]
)
def test_an_answer_of_another_server_fails_at_once(server: Scripted, clock: Clock, body: bytes) -> None:
    server.answers = [Answer(body=body)]

    with pytest.raises(Unreachable) as caught:
        server.api().get("/api", doing="look")

    assert caught.value.why == f"Something other than an API server answered: {body.decode()}"
    assert clock.slept == []


def test_a_redirect_is_refused(server: Scripted, clock: Clock) -> None:
    """As most networks do that want somebody to log in first; an API server never does."""
    server.answers = [Answer(302, b"<html>Found</html>", {"Location": "https://login.example/?from=cluster"})]
    asking = server.api()

    for ask in (
        lambda: asking.get("/api", doing="look"),
        lambda: list(asking.lines("/api", query={}, idle=9)),
    ):
        with pytest.raises(Unreachable) as caught:
            ask()
        assert caught.value.why == (
            "Something other than an API server answered: it redirects to https://login.example/?from=cluster"
        )
    assert clock.slept == []


def test_a_stream_gives_whole_lines(server: Scripted) -> None:
    server.answers = [Answer(body=b"one\ntwo\nlast without end")]

    assert list(server.api().lines("/log", query={"follow": "true"}, idle=30)) == [
        b"one",
        b"two",
        b"last without end",
    ]


@pytest.mark.parametrize(
    ("answer", "error"), [(status(403, "Forbidden", "no"), ApiError), (Answer(0), Unreachable)]
)
def test_a_refused_stream_explains_why(server: Scripted, answer: Answer, error: type[Exception]) -> None:
    server.answers = [answer]

    with pytest.raises(error):
        list(server.api().lines("/log", query={}, idle=30))


def test_a_closed_client_gives_up_at_once(server: Scripted, clock: Clock) -> None:
    server.answers = [status(503, "ServiceUnavailable", "starting")]
    closed = server.api(total=60)
    closed.close()

    with pytest.raises(ApiError):
        closed.get("/x", doing="read x")
    assert len(server.asked) == 1
    assert clock.slept == []


def test_an_error_that_is_not_a_status_is_quoted(server: Scripted) -> None:
    server.answers = [Answer(404, b"<html>no such page</html>")]

    with pytest.raises(ApiError) as caught:
        server.api().get("/x", doing="read x")

    assert caught.value.message == "<html>no such page</html>"


def test_warnings_of_the_server_are_remembered(server: Scripted) -> None:
    server.answers = [Answer(headers={"Warning": '299 - "v1 Endpoints is deprecated in v1.33+"'}), Answer()]
    api = server.api()

    api.get("/api/v1/endpoints", doing="read them")
    api.get("/api/v1/pods", doing="read them")

    assert api.warnings == {'299 - "v1 Endpoints is deprecated in v1.33+"'}
