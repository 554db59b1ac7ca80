"""What a watch makes of odd answers; tests/e2e/test_deploy_faults.py cuts real ones."""

import json
import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.rollout import watch
from tasks.lib.deploy.rollout.watch import Broken, Disturbed, Inbox, Listed, News, Seen, watching
from tests.lib.cluster.scripted import Answer, scripted, status

POD = Kind("v1", "Pod", "pods", namespaced=True)
LIST = Answer(body=json.dumps({"metadata": {"resourceVersion": "7"}, "items": []}).encode())
WEB: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "web", "resourceVersion": "8"}}
ADDED = {"type": "ADDED", "object": WEB}
END = status(403, "Forbidden", "no")  # which is told when it comes again and again


def news(folder: Path, watched: bytes) -> list[News]:
    """What a watch tells of this answer, between a list and refusals that end it."""
    found: list[News] = []
    with scripted(folder) as server:
        server.answers = [LIST, Answer(body=watched), LIST, END]
        inbox: Inbox = queue.SimpleQueue()
        api = server.api(total=0.0, attempt=60.0)
        with watching(api, [(POD, "default")], inbox, threading.Event()):
            while not isinstance(one := inbox.get(timeout=60), Broken):
                found.append(one)
    return [one for one in found if one != Disturbed("no")]


@pytest.mark.parametrize("cut", [1, 30])
def test_a_watch_with_a_truncated_line_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.0)
    whole = json.dumps(ADDED).encode()

    told = news(tmp_path, whole + b"\n" + whole[:cut])

    listed = Listed(("v1", "Pod"), "default", [])
    assert told[:4] == [listed, Seen(WEB), told[2], listed]
    assert isinstance(told[2], Disturbed)


def test_refusals_are_retried_while_a_server_may_be_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.0)
    with scripted(tmp_path) as server:
        server.answers = [*([END] * 20), LIST]
        inbox: Inbox = queue.SimpleQueue()
        with watching(server.patient_api(), [(POD, "default")], inbox, threading.Event()):
            while isinstance(one := inbox.get(timeout=60), Disturbed):
                pass

    assert one == Listed(("v1", "Pod"), "default", [])


@pytest.mark.parametrize("odd", [b"{}", b"[]", b'"text"', b'{"type": "ADDED", "object": null}'])
def test_a_line_that_is_no_event_restarts_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: bytes
) -> None:
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.0)

    told = news(tmp_path, json.dumps(ADDED).encode() + b"\n" + odd + b"\n")

    listed = Listed(("v1", "Pod"), "default", [])
    assert told[:4] == [listed, Seen(WEB), told[2], listed]
    assert isinstance(told[2], Disturbed)
