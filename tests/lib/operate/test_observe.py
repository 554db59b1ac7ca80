"""Looking at environments: who asks, and that nothing is shown of another cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials

from tasks.lib.cluster import gke
from tasks.lib.cluster.kinds import Kind
from tasks.lib.errors import Failure
from tasks.lib.google.credentials import Tokens
from tasks.lib.operate import observe
from tests.builders import checked_in_settings

SETTINGS = checked_in_settings()
PODS = {("v1", "Pod"): Kind("v1", "Pod", "pods", True)}


class Cluster:
    """Answers an API client: with pods, and a mark of some environment."""

    def __init__(self, mark: dict[str, str]) -> None:
        self.mark, self.warnings = mark, set[str]()

    def get(self, path: str, **_: Any) -> dict[str, Any]:
        return {"data": self.mark, "spec": {}}

    def list(self, _path: str, **_: Any) -> tuple[list[dict[str, Any]], str]:
        return [{"metadata": {"name": "web-1", "namespace": "default"}}], "1"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Tokens]:
    """The tokens with which each part was asked; there is one cluster, staging's."""
    found: list[Tokens] = []
    mark = gke.mark(SETTINGS.environment("staging"))["data"]

    @contextmanager
    def reached(_settings: object, _environment: object, tokens: Tokens) -> Iterator[object]:
        found.append(tokens)
        cluster = SimpleNamespace(version="v1.34.1", node_versions=())
        yield SimpleNamespace(api=Cluster(mark), kinds=PODS, found=cluster)

    def of_session(*given: Any) -> None:
        found.append(given[-1].auth.tokens)

    monkeypatch.setattr(gke, "reached", reached)
    monkeypatch.setattr(gke, "end_of_support", of_session)
    monkeypatch.setattr(observe, "_newest_backup", of_session)
    monkeypatch.setattr(observe, "_activated", lambda *given: found.append(given[-1]))
    monkeypatch.setattr(observe, "credentials", lambda _: AnonymousCredentials())
    return found


def test_all_parts_of_all_environments_share_one_token(asked: list[Tokens]) -> None:
    observe.observe_all(SETTINGS, list(SETTINGS.environments.values()))

    assert len(asked) == 8
    assert len(set(map(id, asked))) == 1


def test_nothing_is_shown_of_another_cluster(asked: list[Tokens]) -> None:
    staging, production = observe.observe_all(SETTINGS, list(SETTINGS.environments.values()))

    assert asked
    assert [pod["metadata"]["name"] for pod in staging.of_kind("Pod")] == ["web-1"]
    assert production.of_kind("Pod") == []
    [unknown] = [one for one in production.unknown if one.part == "cluster"]
    assert isinstance(unknown.failure, Failure)
    assert unknown.failure.what == "This is not the expected cluster; nothing was changed."
