"""A server of this machine that the workers of one test run share: the first starts it, and the last ends it.

Each user holds a shared lock on a file, which the system releases when a process ends, however it does.  Another test
run waits until nobody has it any more.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"process {os.getpid()}"


@dataclass(frozen=True)
class SharedService:
    """How a server is started and ended; `end` is called before a start too, for what a killed run left."""

    folder: Path  # for the locks
    name: str
    start: Callable[[], None]
    end: Callable[[], None]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Have the server while inside."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._path("lock").open("a") as users:
            self._join(users)
            try:
                yield
            finally:
                self._leave(users)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from starting, ending or preparing the server meanwhile."""
        with self._path("changes").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _join(self, users: TextIO) -> None:
        while not self._joined(users):
            time.sleep(0.5)  # another test run has it

    def _joined(self, users: TextIO) -> bool:
        with self.alone():
            if _unused(users):
                fcntl.flock(users, fcntl.LOCK_SH)
                self.end()
                self.start()
                self._path("run").write_text(RUN)
                return True
            if self._run() == RUN:
                fcntl.flock(users, fcntl.LOCK_SH)
                return True
        return False

    def _leave(self, users: TextIO) -> None:
        with self.alone():
            if _unused(users):
                self._path("run").unlink(missing_ok=True)
                self.end()

    def _run(self) -> str:
        """The test run that has the server; empty while none has."""
        with suppress(FileNotFoundError):
            return self._path("run").read_text()
        return ""

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"


def _unused(users: TextIO) -> bool:
    """Whether nobody else uses the server; if not, the caller gives up a share of its own."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
