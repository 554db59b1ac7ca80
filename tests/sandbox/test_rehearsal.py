"""What a rehearsal decides by itself; tests/e2e/test_rehearse.py runs whole ones."""

from pathlib import Path

import pytest
import requests

from sandbox.rehearsal import asked, site_of
from tasks import cli
from tasks.lib import retry
from tasks.lib.errors import Failure, UsageError
from tests.clock import Clock
from tests.kubernetes.rendering import checked_in


def test_the_site_is_found_in_the_manifests() -> None:
    documents = list(checked_in("staging").objects.values())

    assert site_of(documents) == ("babieshelpingscience.com", 32403)
    with pytest.raises(Failure, match="The manifests have no site"):
        site_of([one for one in documents if one["kind"] != "Ingress"])


def test_a_site_is_asked_again_until_somebody_answers(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    refusals = [requests.ConnectionError("refused"), requests.ConnectionError("refused")]

    def get(*_: object, **__: object) -> requests.Response:
        if refusals:
            raise refusals.pop()
        return requests.Response()

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(retry, "time", clock)

    assert isinstance(asked("http://site/", 1.0, retry.Attempts(60)), requests.Response)
    assert len(clock.slept) == 2


def test_a_site_that_never_answers_is_named(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    def get(*_: object, **__: object) -> requests.Response:
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(retry, "time", clock)

    with pytest.raises(Failure, match="http://site/ does not answer."):
        asked("http://site/", 1.0, retry.Attempts(60))
    assert sum(clock.slept) < 60


def test_a_checkout_is_run_in_containers_only() -> None:
    with pytest.raises(UsageError, match="--source needs --containers") as failure:
        cli.application_source("../lookit-api", containers=False)

    assert "--containers --source ../lookit-api" in failure.value.next_step
    assert cli.application_source("", containers=True) is None


def test_a_checkout_is_named_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    assert cli.application_source("../lookit-api", containers=True) == tmp_path / "lookit-api"
