"""How far an upload is: a bar on a terminal, a line every ten seconds in a log, whether or not it gets on.

What is done at once needs neither: drawing a bar takes as long as looking whether 500 files are there.
"""

import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from tasks.lib.console import console, say, spoken

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BEFORE_BAR = 0.5
READING = "reading the archive"
UNITS = ("B", "KiB", "MiB", "GiB")


class Progress:
    """Counts files and bytes, and shows them."""

    def __init__(self, what: str = "uploading") -> None:
        self._what = what
        self._files = self._all_files = self._bytes = self._all_bytes = 0
        self._started = self._last_line = time.monotonic()
        self._ended = threading.Event()
        self._clock: threading.Thread | None = None
        # Several uploads may share one bar.
        self._lock = threading.Lock()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Begin to tell, or to draw where there is a terminal."""
        self._last_line = time.monotonic()
        tell = self._draw_in_time if sys.stderr.isatty() else self._tell_in_time
        self._clock = threading.Thread(target=tell, daemon=True)
        self._clock.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Take the bar away, and tell no more."""
        self._ended.set()
        with self._lock:
            if self._bar:
                self._bar.stop()
        if self._clock:
            self._clock.join()

    def expect(self, files: int, size: int) -> None:
        """So many more files, and bytes before compression, are to come."""
        with self._lock:
            if not self._all_files:
                self._started = time.monotonic()
            self._all_files += files
            self._all_bytes += size
            self._show()

    def moved(self, size: int) -> None:
        """So many more bytes of a file that is not there yet are on their way."""
        with self._lock:
            self._bytes += size
            self._show()

    def done(self, size: int) -> None:
        """One more file is there, and with it `size` bytes that were not told of by `moved`."""
        with self._lock:
            self._files += 1
            self._bytes += size
            self._show()

    def line(self, elapsed: float) -> str:
        """Where things stand `elapsed` seconds after the first file was expected."""
        if not self._all_files:
            return f"{self._what}: {READING}"
        rate = self._bytes / elapsed if elapsed > 0 else 0.0
        left = spoken((self._all_bytes - self._bytes) / rate) if rate else "unknown time"
        files = f"{self._files} of {self._all_files} files"
        transferred = f"{size(self._bytes)} of {size(self._all_bytes)}"
        return f"{self._what}: {files}, {transferred}, {size(rate)}/s, {left} left"

    def _draw_in_time(self) -> None:
        """Draw the bar where all is not over by then."""
        if self._ended.wait(SECONDS_BEFORE_BAR):
            return
        from rich import progress

        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[files]} files"),
            progress.DownloadColumn(binary_units=True),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
        )
        bar = progress.Progress(*columns, console=console(), transient=True)
        with self._lock:
            if self._ended.is_set():
                return
            bar.start()
            self._task = bar.add_task(READING, total=None, files="0")
            self._bar = bar
            if self._all_files:
                self._show()

    def _tell_in_time(self) -> None:
        """Show how far it is when nothing has for as long as a line may keep a reader waiting."""
        while not self._ended.wait(self._last_line + SECONDS_BETWEEN_LINES - time.monotonic()):
            with self._lock:
                self._show()

    def _show(self) -> None:
        if self._bar:
            files = f"{self._files}/{self._all_files}"
            self._bar.update(
                self._task,
                description=self._what,
                completed=self._bytes,
                total=self._all_bytes or 1,
                files=files,
            )
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
