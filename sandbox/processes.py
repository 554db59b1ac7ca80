"""Processes of a sandbox: how they are told from all others, and how they are ended.

A number alone does not name a process, because the system gives it out again.  Here a process is its number
and
its start time, and every process of a sandbox carries the sandbox's folder in its environment.
"""

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.lib.background import call

MARK = "LOOKIT_SANDBOX_OWNER"
PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process: its number and the clock tick, since boot, that it started at."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return find(self.pid) == self


def find(pid: int) -> Process | None:
    """The process that has the number `pid` now, if one runs."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold blanks and parentheses itself: what follows the last one is regular.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], int(fields[19])
    return None if state in {"Z", "X"} else Process(pid, started)


def owned_by(folder: Path) -> Iterator[Process]:
    """All processes that carry the mark of the sandbox in `folder`."""
    mark = f"{MARK}={folder}".encode()
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue  # another user's, or gone in between
        if mark in environment.split(b"\0") and (process := find(int(entry.name))):
            yield process


def signal_to(process: Process, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle pins the process, so what is compared here is what the signal reaches.
        if not process.alive:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def end(processes: Iterable[Process], grace: float = 5.0) -> None:
    """End processes: ask with SIGTERM, and after `grace` seconds use SIGKILL; returns when all are gone."""
    asked = [process for process in processes if signal_to(process, signal.SIGTERM)]
    left = wait_for_end(asked, grace)
    for process in left:
        signal_to(process, signal.SIGKILL)
    wait_for_end(left, grace)


def wait_for_end(processes: Iterable[Process], time_limit: float) -> list[Process]:
    """Wait until processes have ended; returns those that still run after `time_limit` seconds."""
    deadline = time.monotonic() + time_limit
    left = list(processes)
    for process in left:
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            continue
        try:
            if process.alive:
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                call(poll.poll, max(0.0, deadline - time.monotonic()) * 1000)
        finally:
            os.close(handle)
    return [process for process in left if process.alive]
