"""A clock that tests turn: where the code under test would wait, the time is over at once."""

import threading
import time
from typing import Any


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
        return self._started[0] + sum(self.slept)

    def monotonic(self) -> float:
        return self._started[1] + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def event(self) -> threading.Event:
        """An event for which waiting is sleeping."""
        return _Event(self)


class _Event(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            assert timeout is not None, "nobody would ever set it"
            self._clock.sleep(timeout)
        return self.is_set()
