"""One server for all workers of a test run, and for one test run at a time."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import shared_service
from tests.shared_service import SharedService


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def service(tmp_path: Path, told: list[str]) -> SharedService:
    def tells(what: str) -> Callable[[], None]:
        return lambda: told.append(what)

    return SharedService(tmp_path, "server", start=tells("start"), end=tells("end"))


def test_the_first_user_starts_it_and_the_last_ends_it(service: SharedService, told: list[str]) -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(service.used())
    second.enter_context(service.used())
    assert told == ["end", "start"]  # first what a killed run left

    first.close()
    assert told == ["end", "start"]
    second.close()
    assert told == ["end", "start", "end"]


def test_another_test_run_waits_for_the_end(
    service: SharedService, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ExitStack()
    first.enter_context(service.used())

    def wait(_seconds: float) -> None:
        told.append("wait")
        first.close()

    monkeypatch.setattr(shared_service, "RUN", "another")
    monkeypatch.setattr("time.sleep", wait)
    with service.used():
        assert told == ["end", "start", "wait", "end", "end", "start"]


def test_one_that_does_not_start_is_tried_again_by_the_next(tmp_path: Path, told: list[str]) -> None:
    def fails() -> None:
        told.append("start")
        raise OSError

    service = SharedService(tmp_path, "server", start=fails, end=lambda: None)
    for _ in range(2):
        with pytest.raises(OSError), service.used():  # noqa: PT011 - the one above, and no other
            pass
    assert told == ["start", "start"]
