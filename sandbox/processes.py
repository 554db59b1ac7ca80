"""Processes of a sandbox: how they are recognized, and how they are ended.

A number alone does not name a process, because the system gives it out again. Here a process is its number
and its start time, and every process of a sandbox carries the sandbox's folder in its environment.
"""

import os
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.lib import signals

MARK = "LOOKIT_SANDBOX_OWNER"
TICKS = os.sysconf("SC_CLK_TCK")
LOOK_AGAIN = 0.02


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
        found = psutil.Process(pid)
        if found.status() == psutil.STATUS_ZOMBIE:
            return None
        # Since boot: the time of day may be set while the process runs.
        return Process(pid, round((found.create_time() - psutil.boot_time()) * TICKS))
    except psutil.NoSuchProcess:
        return None


def owned_by(folder: Path) -> Iterator[Process]:
    """All processes that carry the mark of the sandbox in `folder`, but this one."""
    for found in psutil.process_iter(["environ"]):
        environment = found.info["environ"] or {}  # None: another user's
        if environment.get(MARK) == str(folder) and found.pid != os.getpid() and (known := find(found.pid)):
            yield known


def signal_to(process: Process, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False when it is gone."""
    try:
        handle = psutil.Process(process.pid)
        if not process.alive:
            return False
        handle.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def end(processes: Iterable[Process], grace: float = 5.0) -> None:
    """End processes with SIGTERM, those left after `grace` seconds with SIGKILL, and wait for their end."""
    asked = [process for process in processes if signal_to(process, signal.SIGTERM)]
    left = wait_for_end(asked, grace)
    for process in left:
        signal_to(process, signal.SIGKILL)
    wait_for_end(left, grace)


def wait_for_end(processes: Collection[Process], time_limit: float) -> list[Process]:
    """Wait until processes have ended; returns those that still run after `time_limit` seconds."""
    deadline = time.monotonic() + time_limit
    while (left := [process for process in processes if process.alive]) and time.monotonic() < deadline:
        signals.sleep(LOOK_AGAIN)
    return left
