"""When a server is asked again."""

import itertools

import pytest

from tasks.lib import retry
from tests.clock import Clock


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(retry, "time", clock)
    return clock


def slept_until_it_gives_up(attempts: retry.Attempts, clock: Clock) -> list[float]:
    while (pause := attempts.pause()) is not None:
        clock.sleep(pause)
    return clock.slept


def test_pauses_double_and_end_within_the_limit(clock: Clock) -> None:
    slept = slept_until_it_gives_up(retry.Attempts(60, first=1, longest=8), clock)

    assert all(one < two for one, two in itertools.pairwise(slept[:4]))
    assert 0.75 <= slept[0] <= 1.25
    assert max(slept) <= 10
    assert 50 - 10 < sum(slept) < 60


def test_clients_that_failed_together_retry_at_different_times(clock: Clock) -> None:
    first, second = retry.Attempts(60), retry.Attempts(60)

    assert first.pause() != second.pause()


def test_pauses_may_be_spread_over_all_of_their_length(clock: Clock) -> None:
    pauses = [retry.Attempts(first=1, spread=1).pause() or 0.0 for _ in range(1000)]

    assert 0 <= min(pauses) < 0.25
    assert 1.75 < max(pauses) <= 2


def test_the_server_may_ask_for_more(clock: Clock) -> None:
    attempts = retry.Attempts(60, first=1)

    pause = attempts.pause(20)
    assert pause is not None
    assert 20.75 <= pause <= 21.25
    assert attempts.pause(90) is None


@pytest.mark.parametrize("most", [1, 2, 5])
def test_it_gives_up_after_the_last_attempt(clock: Clock, most: int) -> None:
    assert len(slept_until_it_gives_up(retry.Attempts(most=most), clock)) == most - 1


def test_without_a_limit_retries_never_end(clock: Clock) -> None:
    attempts = retry.Attempts()

    assert all(attempts.pause() for _ in range(100))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0), ("", 0.0), ("7", 7.0), ("soon", 0.0), ("²", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0), ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_may_be_seconds_or_a_date(
    monkeypatch: pytest.MonkeyPatch, header: str | None, seconds: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(clock, "time", lambda: 60.0)
    monkeypatch.setattr(retry, "time", clock)

    assert retry.retry_after(header) == seconds
