"""A process that runs beside a test: what it says and when, and its end, whatever becomes of the test."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Seconds.  Only what never comes takes as long: on a busy machine everything takes several times longer.
LONGEST = 300.0


class Heard:
    """A process whose lines on stderr are kept with the moment at which each came.

    Args:
        process: with stderr as a pipe of text.

    `printed` is what it has written on stdout, line by line, where that is a pipe too.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[tuple[float, str]] = []
        self.printed = ""
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._read, self._take)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line))

    def _take(self) -> None:
        for line in self.process.stdout or ():
            self.printed += line

    def moment_of(self, text: str, seconds: float = LONGEST) -> float:
        """When a line with `text` was said, by the monotonic clock; waits for it."""

        def moment() -> float | None:
            silent = not self._threads[0].is_alive()
            found = next((at for at, line in list(self.lines) if text in line), None)
            assert found or not silent, f"it ended without saying {text!r}:\n{self.said}"
            return found

        found: float = until(moment, seconds)
        return found

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.end()

    def end(self, seconds: float = LONGEST) -> int:
        """Wait for the end; returns the exit code."""
        code = self.process.wait(seconds)
        for thread in self._threads:
            thread.join(60)  # longer only where a process that it started holds its stderr open
        return code

    @property
    def said(self) -> str:
        """All of it."""
        return "".join(line for _, line in self.lines)


@contextmanager
def heard(process: "subprocess.Popen[str]") -> Iterator[Heard]:
    """Listen to a process while inside; it is killed at the end if it still runs."""
    running = Heard(process)
    try:
        yield running
    finally:
        process.kill()
        running.end()


def until(true: Callable[[], Any], seconds: float = LONGEST, pause: float = 0.05) -> Any:
    """Wait until `true` returns something; returns that."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(pause)
    return found
