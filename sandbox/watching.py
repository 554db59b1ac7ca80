"""Looking at a sandbox: which of its servers run and are healthy, and that its supervisor runs."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import processes, supervisor
from sandbox.components import Component, read_plan
from sandbox.processes import Process
from sandbox.state import State, locked
from tasks.lib.background import call
from tasks.lib.errors import Failure, UsageError

BUSY = "Another command is bringing this sandbox up or down; waiting for it …"


@dataclass(frozen=True)
class Status:
    """One component as it is now."""

    name: str
    pid: int  # 0: it does not run
    port: int
    starts: int  # how often it was started
    problem: str  # empty: it is healthy


def status(here: State) -> list[Status]:
    """Every component that shall run, and the supervisor, as they are now."""
    watcher = running(here, supervisor.NAME)
    found = [Status(supervisor.NAME, watcher.pid if watcher else 0, 0, 1, "" if watcher else "not running")]
    return found + [_status_of(here, component) for component in read_plan(here.plan)]


def logs(here: State, component: str) -> Path:
    """The log file of a component.

    Raises:
        UsageError: there is no such component.
        Failure: there is no sandbox in that folder.

    """
    path = here.log(component)
    known = [supervisor.NAME, *(component.name for component in read_plan(here.plan))]
    if component not in known:
        raise UsageError(f"There is no component {component!r} in this sandbox.",
                         f"Known: {', '.join(known)}." if known[1:] else "No sandbox is up.",
                         "./inv sandbox.status lists them.")  # fmt: skip
    if not (here.plan.exists() or path.exists()):
        raise _none_is_up(here)
    return path


def hold(here: State, component: str) -> None:
    """Kill a component, and keep it down until `release`."""
    here.held.mkdir(parents=True, exist_ok=True)
    (here.held / component).touch()


def release(here: State, component: str) -> None:
    """Let a held component be started again."""
    (here.held / component).unlink(missing_ok=True)


def require_up(here: State) -> None:
    """Require that the sandbox runs; where only its supervisor is gone, start another."""
    plan = read_plan(here.plan)
    if plan and running(here, supervisor.NAME):
        return
    if not any(running(here, component.name) for component in plan):
        raise _none_is_up(here)
    with locked(here.lock, BUSY):
        ensure_supervisor(here)


def _none_is_up(here: State) -> Failure:
    return Failure(
        "No sandbox is up in this checkout.", f"Nothing runs for {here.folder}.", "./inv sandbox.up"
    )


def is_up(here: State, cluster: str) -> bool:
    """Whether the sandbox runs, that cluster of it too."""
    planned = [component.name for component in read_plan(here.plan)]
    of_cluster = [name for name in planned if name.startswith(f"{cluster}.")]
    return bool(of_cluster) and all(running(here, name) for name in (supervisor.NAME, *of_cluster))


def ensure_supervisor(here: State) -> None:
    """Start a supervisor, or have the one that runs read the plan again."""
    watcher = running(here, supervisor.NAME)
    if watcher and processes.signal_to(watcher, supervisor.LOOK):
        return
    _end_strays(here)
    log = here.log(supervisor.NAME)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, _blocked(supervisor.LOOK):
        child = subprocess.Popen(
            [sys.executable, "-m", "sandbox.supervisor", str(here.folder)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=here.folder,
            env=supervisor.child_environment(here.folder, {}),
        )  # fmt: skip
    # Recorded here too, so that a command which comes a moment later does not start another.
    if started := processes.find(child.pid):
        supervisor.write_record(here, supervisor.NAME, supervisor.Record(started, 1))


@contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """Block this signal while inside: a process started here keeps it until its handler is set."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_strays(here: State) -> None:
    """End processes of this sandbox without a record: their supervisor was killed just after their start."""
    records = [supervisor.record_of(here, component.name) for component in read_plan(here.plan)]
    known = {record.process for record in records if record}
    processes.end([process for process in processes.owned_by(here.folder) if process not in known])


def running(here: State, name: str) -> Process | None:
    """The process of a component, or of the supervisor; None when it does not run."""
    record = supervisor.record_of(here, name)
    return record.process if record and record.process.alive else None


def _status_of(here: State, component: Component) -> Status:
    record = supervisor.record_of(here, component.name)
    alive = record is not None and record.process.alive
    problem = call(component.probe.problem) if alive else "not running"
    pid = record.process.pid if record and alive else 0
    return Status(component.name, pid, component.port, record.starts if record else 0, problem)
