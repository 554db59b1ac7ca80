"""Keeps the servers of one sandbox running: starts each once what it needs is healthy, restarts it.

It is a process of its own (`python -m sandbox.supervisor FOLDER`), so that a sandbox outlives the command
that started it. It holds no state but files: the plan says what shall run, a file for each process says what
does, so a new supervisor takes over from one that was killed. SIGHUP makes it read the plan again. Who
starts it blocks that signal, so that one which comes before the handler is set waits.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandbox import processes
from sandbox.components import Component, read_plan
from sandbox.processes import Process
from sandbox.state import State
from tasks.lib.files import write_atomically

NAME = "supervisor"
LOOK = signal.SIGHUP
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
STEADY = 10.0  # one that ran this long is not in a crash loop
TICK = 0.2
BIGGEST_LOG = 20 * 1024**2


@dataclass
class Watched:
    """One component as the supervisor sees it."""

    process: Process | None = None
    started_at: float = 0.0
    starts: int = 0
    pause: float = 0.0
    not_before: float = 0.0


@dataclass(frozen=True)
class Record:
    """What a supervisor writes down about a process: which it is, and how often it was started."""

    process: Process
    starts: int


def record_of(state: State, name: str) -> Record | None:
    """What was last written down about the component, whether it still runs or not; None if damaged."""
    try:
        found = json.loads((state.processes / f"{name}.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return Record(Process(found["pid"], found["started"]), found["starts"])


def write_record(state: State, name: str, record: Record) -> None:
    """Write down which process a component is."""
    values = {"pid": record.process.pid, "started": record.process.started, "starts": record.starts}
    write_atomically(state.processes / f"{name}.json", json.dumps(values).encode())


class Supervisor:
    """The loop; one per sandbox."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.plan: dict[str, Component] = {}
        self.watched: dict[str, Watched] = {}
        self.reload, self.ending = True, False

    def run(self) -> None:
        """Keep everything running until SIGTERM."""
        signal.signal(signal.SIGTERM, self._ask_to_end)
        signal.signal(LOOK, self._ask_for_reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {LOOK})
        while not self.ending:
            if self.reload:
                self.reload = False
                self._read_plan()
            self._stop_held()
            self._start_due()
            time.sleep(TICK)
            self._note_ends()
        self._end_all()

    def _ask_to_end(self, *_signal: object) -> None:
        self.ending = True

    def _ask_for_reload(self, *_signal: object) -> None:
        self.reload = True

    def _read_plan(self) -> None:
        before = self.plan
        self.plan = {component.name: component for component in read_plan(self.state.plan)}
        for name, watched in self.watched.items():
            if watched.process and self.plan.get(name) != before.get(name, self.plan.get(name)):
                processes.end([watched.process])
        for name in self.plan:
            if name not in self.watched:
                self.watched[name] = Watched()
                self._take_over(name)

    def _take_over(self, name: str) -> None:
        """A predecessor may have started it already."""
        record = record_of(self.state, name)
        if record and record.process.alive:
            self._watch(name, record.process, record.starts)

    def _watch(self, name: str, process: Process, starts: int) -> None:
        watched = self.watched[name]
        watched.process, watched.starts, watched.started_at = process, starts, time.monotonic()

    def _note_ends(self) -> None:
        for watched in self.watched.values():
            if watched.process and _has_ended(watched.process):
                _reap(watched.process)
                steady = time.monotonic() - watched.started_at > STEADY
                watched.pause = FIRST_PAUSE if steady or not watched.pause else watched.pause * 2
                watched.pause = min(watched.pause, LONGEST_PAUSE)
                watched.not_before = time.monotonic() + watched.pause
                watched.process = None

    def _stop_held(self) -> None:
        for name, watched in self.watched.items():
            if watched.process and self._is_held(name):
                processes.signal_to(watched.process, signal.SIGKILL)

    def _is_held(self, name: str) -> bool:
        return name not in self.plan or (self.state.held / name).exists()

    def _start_due(self) -> None:
        # Four servers need the API server, and each look at it is a TLS handshake.
        is_healthy = cache(self._is_healthy)
        for name, component in self.plan.items():
            watched = self.watched[name]
            if self.ending or watched.process or self._is_held(name) or time.monotonic() < watched.not_before:
                continue
            if all(is_healthy(needed) for needed in component.after):
                process, starts = start(self.state, component), watched.starts + 1
                self._watch(name, process, starts)
                write_record(self.state, name, Record(process, starts))

    def _is_healthy(self, name: str) -> bool:
        watched = self.watched.get(name)
        return bool(watched and watched.process and not self.plan[name].probe.problem(time_limit=0.5))

    def _end_all(self) -> None:
        """End those that need others first: else they log errors about lost servers."""
        processes.end(reversed([watched.process for watched in self.watched.values() if watched.process]))


def start(state: State, component: Component) -> Process:
    """Start a component in a session of its own, its output going to its log file."""
    log = state.log(component.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > BIGGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(component.argv), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, cwd=state.folder, env=child_environment(state.folder, component.env),
        )  # fmt: skip
    # A child that ended already is a zombie until it is reaped, so its start time can still be read.
    return processes.find(child.pid) or Process(child.pid, 0)


def child_environment(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a component: this process's, the sandbox's mark, the checkout on Python's path."""
    checkout = str(Path(__file__).resolve().parents[1])
    return {**os.environ, processes.MARK: str(folder), "PYTHONPATH": checkout, **variables}


def _has_ended(process: Process) -> bool:
    """Whether it has ended, cheaply: it is asked five times a second.  A child's exit status is not taken."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # taken over from a predecessor
        return not process.alive


def _reap(process: Process) -> None:
    """Take a child's exit status; one that was taken over from a predecessor is nobody's child here."""
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def main() -> None:
    """Run the supervisor of the sandbox whose folder is the only argument."""
    state = State(Path(sys.argv[1]))
    own = processes.find(os.getpid())
    if own:
        write_record(state, NAME, Record(own, 1))
    Supervisor(state).run()


if __name__ == "__main__":
    main()
