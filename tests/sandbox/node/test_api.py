"""The sandbox's own client of a cluster, against a server that says what a healthy one does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.node import api as node_api
from sandbox.node.api import Api
from tests.lib.cluster.scripted import Answer, scripted, status


def events(*found: tuple[str, str]) -> Answer:
    lines = [json.dumps({"type": kind, "object": {"name": name}}) for kind, name in found]
    return Answer(body="".join(f"{line}\n" for line in lines).encode())


def listing(*names: str) -> Answer:
    content: Any = {"items": [{"name": name} for name in names], "metadata": {"resourceVersion": "7"}}
    return Answer(body=json.dumps(content).encode())


class Trusting(Api):
    """One that shows no certificate of its own, and trusts that of the test's server."""

    @property
    def session(self) -> requests.Session:
        session = requests.Session()
        session.verify = str(self._folder / "server.crt")
        session.trust_env = False
        return session


def names(api: Api) -> list[str]:
    listed = api.get("/things")
    assert listed
    return [found["name"] for found in api._list_and_watch("/things", listed)]


@pytest.mark.parametrize(
    ("watched", "found"),
    [
        ([("ADDED", "b"), ("DELETED", "a"), ("MODIFIED", "b"), ("BOOKMARK", "x")], ["a", "b", "b"]),
        ([("ADDED", "b"), ("ERROR", "gone"), ("ADDED", "c")], ["a", "b"]),
    ],
    ids=["until the server ends the watch", "until the version is too old"],
)
def test_objects_are_followed(tmp_path: Path, watched: list[tuple[str, str]], found: list[str]) -> None:
    with scripted(tmp_path) as server:
        (tmp_path / "server.crt").write_text(server.endpoint.ca)
        server.answers = [listing("a"), events(*watched)]

        assert names(Trusting(server.endpoint.server, tmp_path)) == found
        assert server.asked[1].path == "/things?watch=true&resourceVersion=7&timeoutSeconds=300"


def test_a_kind_that_is_missing_is_not_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_api, "PAUSE_WITHOUT_KIND", 0.0)
    with scripted(tmp_path) as server:
        (tmp_path / "server.crt").write_text(server.endpoint.ca)
        server.answers = [status(404, "", ""), status(404, "", ""), listing("a")]

        followed = Trusting(server.endpoint.server, tmp_path).follow("/things")

        assert next(followed) == {"name": "a"}
        assert [one.path for one in server.asked] == ["/things"] * 3


@pytest.mark.parametrize(
    ("code", "calls"), [(409, ["create"]), (404, ["get", "delete"])], ids=["there already", "gone already"]
)
def test_only_what_was_to_be_expected_is_passed_over(tmp_path: Path, code: int, calls: list[str]) -> None:
    with scripted(tmp_path) as server:
        (tmp_path / "server.crt").write_text(server.endpoint.ca)
        server.answers = [status(code, "", "")]
        api = Trusting(server.endpoint.server, tmp_path)
        ways: dict[str, Callable[[], object]] = {
            "get": lambda: api.get("/x"), "create": lambda: api.create("/x", {}), "delete": lambda: api.delete("/x"),
        }  # fmt: skip

        for name, call in ways.items():
            if name in calls:
                assert call() is None
            else:
                with pytest.raises(requests.HTTPError, match=str(code)):
                    call()
