"""A clock that tests turn: where the code under test would wait, the time is over at once."""

import threading
import time
from typing import Any

import pytest


class Clock:
    """Takes the place of the module `time` in the module under test, and notes how long that slept.

    Only sleeping moves it: how busy the machine is makes no difference.
    """

    def __init__(self) -> None:
        # Whole seconds: with others, ten of them after one another would not always be ten.
        self._started = float(int(time.time())), float(int(time.monotonic()))
        self.slept: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return self._started[0] + self._passed()

    def monotonic(self) -> float:
        return self._started[1] + self._passed()

    def _passed(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def event(self) -> threading.Event:
        """An event for which waiting is sleeping."""
        return _Event(self)


class ThreadsClock(Clock):
    """The same, but each thread has a time of its own: where several sleep at once, none takes another's time."""

    def __init__(self) -> None:
        super().__init__()
        self._own = threading.local()

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._own.passed = self._passed() + seconds

    def _passed(self) -> float:
        return getattr(self._own, "passed", 0.0)


def patience(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which deploys wait for workloads: their time is over when a test says so, and never before."""
    made = Clock()
    monkeypatch.setattr("tasks.lib.deploy.rollout.wait.time", made)
    return made


class _Event(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            assert timeout is not None, "nobody would ever set it"
            self._clock.sleep(timeout)
        return self.is_set()
