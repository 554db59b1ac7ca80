"""How far an upload is: a bar on a terminal, a line every ten seconds in a log."""

import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from tasks.lib.console import console, say
from tasks.lib.duration import spoken

SECONDS_BETWEEN_LINES = 10.0
UNITS = ("B", "KiB", "MiB", "GiB")


class Progress:
    """Counts files and bytes, and shows them.

    Args:
        what: what is being done, for the line.
    """

    def __init__(self, what: str = "uploading") -> None:
        self._what = what
        self._files = self._all_files = self._bytes = self._all_bytes = 0
        self._started = self._last_line = time.monotonic()
        # Several uploads may share one bar.
        self._lock = threading.Lock()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Draw the bar where there is a terminal."""
        if sys.stderr.isatty():
            from rich import progress

            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TextColumn("{task.fields[files]} files"),
                progress.DownloadColumn(binary_units=True),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
            )
            self._bar = progress.Progress(*columns, console=console(), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=None, files="0")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()

    def expect(self, files: int, size: int) -> None:
        """So many more files, and bytes before compression, are to come."""
        with self._lock:
            self._all_files += files
            self._all_bytes += size
            self._show()

    def done(self, size: int) -> None:
        """One more file, of `size` bytes, is there."""
        with self._lock:
            self._files += 1
            self._bytes += size
            self._show()

    def line(self, elapsed: float) -> str:
        """Where things stand after `elapsed` seconds."""
        rate = self._bytes / elapsed if elapsed > 0 else 0.0
        left = (self._all_bytes - self._bytes) / rate if rate else 0.0
        files = f"{self._files} of {self._all_files} files"
        transferred = f"{size(self._bytes)} of {size(self._all_bytes)}"
        return f"{self._what}: {files}, {transferred}, {size(rate)}/s, {spoken(left)} left"

    def _show(self) -> None:
        if self._bar:
            files = f"{self._files}/{self._all_files}"
            self._bar.update(self._task, completed=self._bytes, total=self._all_bytes or 1, files=files)
            return
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            say(self.line(now - self._started))


def size(count: float) -> str:
    """Bytes in the unit that fits: `512 B`, `1.5 MiB`."""
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("the last unit fits everything")
