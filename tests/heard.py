"""A running deploy, and when it said what."""

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any


class Heard:
    """A process whose lines on stderr are kept with the moment at which each came.

    Args:
        process: with stderr as a pipe of text.

    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line))

    def moment_of(self, text: str) -> float:
        """When a line with `text` was said, by the monotonic clock; waits for it."""
        found: float = until(lambda: next((at for at, line in list(self.lines) if text in line), None))
        return found

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        code = self.process.wait(timeout=120)
        self._thread.join(5)
        return code

    @property
    def said(self) -> str:
        """All of it."""
        return "".join(line for _, line in self.lines)


def until(true: Callable[[], Any], seconds: float = 120, pause: float = 0.05) -> Any:
    """Wait until `true` returns something; returns that."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(pause)
    return found
