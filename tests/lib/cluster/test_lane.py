import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pycurl
import pytest

from tasks.lib.cluster import lane
from tasks.lib.cluster.endpoint import Endpoint
from tests.lib.cluster.scripted import Answer, Scripted, status

MADE = Answer(body=b'{"kind": "ConfigMap"}')


class Outcome:
    """What became of the writes, in the order in which they ended."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}

    def write(self, name: str) -> lane.Write:
        return lane.Write(f"/things/{name}", {"name": name}, partial(self.answers.__setitem__, name))

    def writes(self, count: int) -> Iterator[lane.Write]:
        return (self.write(str(number)) for number in range(count))


def test_all_are_sent_as_api_would_send_them(server: Scripted) -> None:
    server.answers = [MADE]
    outcome, api = Outcome(), server.patient_api()
    forced = replace(outcome.write("forced 😀"), path="/things/forced", query={"force": "true"})

    lane.send(api, [*outcome.writes(30), forced])
    (of_lane,) = [asked for asked in server.asked if asked.path.startswith("/things/forced")]
    api.apply("/things/forced", forced.body, doing="apply it", query={"force": "true"})

    assert outcome.answers == {name: {"kind": "ConfigMap"} for name in [*map(str, range(30)), "forced 😀"]}
    assert len(server.asked) == 32
    of_api = server.asked[-1]
    assert (of_lane.method, of_lane.path, of_lane.body) == (of_api.method, of_api.path, of_api.body)
    compared = ("Accept", "Authorization", "Content-Type", "User-Agent", "Host", "Content-Length")
    assert [of_lane.headers[name] for name in compared] == [of_api.headers[name] for name in compared]
    assert "Expect" not in of_lane.headers


@pytest.mark.parametrize(
    "fault",
    [
        status(409, "Conflict", "theirs"),
        status(503, "ServiceUnavailable", "starting"),
        Answer(302, headers={"Location": "/elsewhere"}),
        Answer(0),
        Answer(body=b'{"kind":', headers={"Content-Length": "100", "Connection": "close"}),
        Answer(body=b"<html>Log in first</html>"),
    ],
    ids=["refused", "starting", "sent elsewhere", "dropped", "broken off", "a page in its place"],
)
def test_what_does_not_go_through_is_not_tried_again(server: Scripted, fault: Answer) -> None:
    server.answers = [fault, MADE]
    outcome = Outcome()

    lane.send(server.patient_api(), [outcome.write("first")])
    lane.send(server.patient_api(), [outcome.write("second")])

    assert outcome.answers == {"first": None, "second": {"kind": "ConfigMap"}}
    assert len(server.asked) == 2


def test_writes_are_taken_only_as_they_are_sent(server: Scripted) -> None:
    server.answers = [*[MADE] * 20, status(409, "Conflict", "theirs")]
    outcome = Outcome()

    def until_refused() -> Iterator[lane.Write]:
        for write in outcome.writes(500):
            if None in outcome.answers.values():
                return
            yield write

    lane.send(server.patient_api(), until_refused())

    assert list(outcome.answers.values()).count({"kind": "ConfigMap"}) == 20
    assert 1 <= list(outcome.answers.values()).count(None) <= lane.CONNECTIONS
    assert len(outcome.answers) == len(server.asked)


def test_a_server_that_is_not_there_is_left_to_api() -> None:
    outcome = Outcome()
    lane.send(Scripted(Endpoint("https://127.0.0.1:9")).api(), outcome.writes(3))
    assert outcome.answers == {"0": None, "1": None, "2": None}


def test_a_server_with_a_certificate_of_someone_else_is_told_nothing(server: Scripted) -> None:
    server.answers = [MADE]
    outcome = Outcome()

    lane.send(replace(server, endpoint=Endpoint(server.endpoint.server)).patient_api(), outcome.writes(3))

    assert outcome.answers == {"0": None, "1": None, "2": None}
    assert not server.asked


def test_nothing_to_send_takes_no_connection(server: Scripted) -> None:
    lane.send(server.patient_api(), [])
    assert not server.asked


def test_a_proxy_of_the_environment_is_asked_unless_the_host_is_excepted(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [MADE]
    outcome = Outcome()
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        asking = threading.Thread(target=lane.send, args=(server.patient_api(), [outcome.write("proxied")]))
        asking.start()
        connection, _ = proxy.accept()
        with connection:
            host = server.endpoint.server.removeprefix("https://")
            assert connection.recv(4096).startswith(f"CONNECT {host} HTTP/1.".encode())
        asking.join()

        monkeypatch.setenv("no_proxy", "127.0.0.1")
        lane.send(server.patient_api(), [outcome.write("direct")])

    assert outcome.answers == {"proxied": None, "direct": {"kind": "ConfigMap"}}


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_api_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome, waits = Outcome(), []

    class Watched(pycurl.CurlMulti):  # type: ignore[misc,name-defined]
        def select(self, seconds: float) -> int:
            waits.append(seconds)
            return int(super().select(seconds))

    monkeypatch.setattr(pycurl, "CurlMulti", Watched)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = Scripted(Endpoint(f"https://127.0.0.1:{silent.getsockname()[1]}")).api()
        lane.send(api.patient(replace(api.patience, attempt=0.2)), outcome.writes(2))
    assert outcome.answers == {"0": None, "1": None}
    assert 0 < max(waits) <= 0.2


def test_the_end_of_the_caller_ends_what_is_on_its_way(server: Scripted) -> None:
    server.answers = [MADE]

    def interrupted() -> Iterator[lane.Write]:
        yield Outcome().write("first")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lane.send(server.patient_api(), interrupted())
    assert len(server.asked) <= 1
