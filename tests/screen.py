"""A program on a real pseudo-terminal, and the screen that a person would see of it (pyte draws it)."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyte

from tests.heard import LONGEST


def shows(text: str) -> Callable[[list[str]], bool]:
    """Whether a line of the screen is just this text."""
    return lambda screen: any(line.strip() == text for line in screen)


class Screen:
    """A running program, and everything that its terminal showed.

    Args:
        argv: the program; stdin, stdout and stderr are the terminal.
        folder: where it runs.
        env: its environment.
        columns: of the terminal.
        lines: likewise.

    """

    def __init__(
        self, argv: Sequence[str], folder: Path, env: Mapping[str, str], columns: int, lines: int
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        # pytest's workers carry the size of a terminal that is not this one.
        without_size = {name: value for name, value in env.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            argv, cwd=folder, env=without_size, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True, preexec_fn=_take_terminal,  # noqa: PLW1509 - one system call
        )  # fmt: skip
        os.close(theirs)
        self._emulated = pyte.HistoryScreen(columns, lines, history=5000)
        self._stream = pyte.ByteStream(self._emulated)
        self.raw = b""
        self.seen: list[list[str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def now(self) -> list[str]:
        """The lines on the screen, without what is left empty below."""
        shown = [line.rstrip() for line in self._emulated.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def whole(self) -> list[str]:
        """What has scrolled away, then the screen."""
        width = self._emulated.columns
        past = ["".join(row[x].data for x in range(width)) for row in self._emulated.history.top]
        return [line.rstrip() for line in past] + self.now

    @property
    def cursor_hidden(self) -> bool:
        """Whether the program left the cursor hidden."""
        return bool(self._emulated.cursor.hidden)

    @property
    def is_raw(self) -> bool:
        """Whether the terminal hands on what is typed as it is, Ctrl-C too."""
        return not termios.tcgetattr(self._ours)[3] & termios.ISIG

    def type(self, text: str) -> None:
        """Type; the terminal turns \\x03 into SIGINT for whoever is in the foreground."""
        os.write(self._ours, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size; whoever is in the foreground gets SIGWINCH."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._emulated.resize(lines, columns)

    def until(self, condition: Callable[[list[str]], bool], seconds: float = LONGEST) -> list[str]:
        """Wait until a screen like this was shown, and return it."""
        deadline, looked = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            ended = not self._reader.is_alive()
            for shown in self.seen[looked:]:
                looked += 1
                if condition(shown):
                    return shown
            assert not ended, "it ended without showing that:\n" + "\n".join(self.whole)
            time.sleep(0.05)
        raise AssertionError("it did not show that in time:\n" + "\n".join(self.whole))

    def end(self, seconds: float = LONGEST) -> int:
        """Wait for the program's own end; returns its exit code."""
        code = self.process.wait(seconds)
        self._reader.join(60)
        return code

    def close(self) -> None:
        """End the program if it still runs."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._reader.join(60)
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # Linux: the other side is closed
                return
            if not data:
                return
            self.raw += data
            self._stream.feed(data)
            self.seen.append(self.now)


def _take_terminal() -> None:
    """Make stdin the terminal that signals come from, in the program's own new session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def on_screen(
    argv: Sequence[str], folder: Path, env: Mapping[str, str], columns: int = 100, lines: int = 30
) -> Iterator[Screen]:
    """Run a program on a terminal of that size while inside."""
    screen = Screen(argv, folder, env, columns, lines)
    try:
        yield screen
    finally:
        screen.close()
