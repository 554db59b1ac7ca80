"""What is waited for when a sandbox comes up, what is ended with it, and what is said of one that is not there."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox import lifecycle, processes, report, supervisor, watching
from sandbox.components import Component, Probe, write_plan
from sandbox.state import State
from sandbox.watching import Status
from tasks.lib.errors import Failure, TimedOut, UsageError
from tests.builders import ROOT, checked_in_settings
from tests.clock import Clock
from tests.heard import until
from tests.sandbox.marked import marked


@pytest.mark.parametrize(
    ("starts", "crashes"),
    [([1, 1], 0), ([0, 1, 2], 2), ([7, 8], 1), ([7, 1, 2], 1)],
    ids=[
        "steady",
        "crashing since it began",
        "crashed long ago, and once now",
        "a new supervisor counts anew",
    ],
)
def test_only_crashes_since_up_was_asked_for_count(starts: list[int], crashes: int) -> None:
    before: dict[str, int] = {}

    counted = [lifecycle.crashes(Status("etcd", 0, 0, number, "not running"), before) for number in starts]

    assert counted[-1] == crashes


def test_a_sandbox_that_never_was_is_down_already(tmp_path: Path) -> None:
    assert lifecycle.down(State(tmp_path / "none"), keep_data=False) == 0
    assert not (tmp_path / "none").exists()


def test_the_status_without_a_sandbox_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failure:
        report.require_healthy(watching.status(State(tmp_path)))

    assert failure.value.why == "supervisor: not running"
    assert failure.value.next_step == "./inv sandbox.up"


def test_logs_of_no_sandbox_say_that_none_is_up(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="There is no component 'kms' in this sandbox.") as failure:
        watching.logs(State(tmp_path), "kms")

    assert failure.value.why == "No sandbox is up."


def test_logs_of_no_sandbox_at_all_leave_its_folder_alone(tmp_path: Path) -> None:
    """A setting that leads elsewhere by mistake got a folder logs there, and an empty answer."""
    with pytest.raises(Failure, match="No sandbox is up in this checkout"):
        watching.logs(State(tmp_path), supervisor.NAME)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_not_a_sandbox(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(UsageError, match="holds something else than a sandbox"):
        lifecycle.down(State(tmp_path), keep_data=False)

    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_plan_says_how_to_start_again(tmp_path: Path) -> None:
    State(tmp_path).plan.write_text("{broken")

    with pytest.raises(Failure, match="components.json is damaged") as failure:
        watching.status(State(tmp_path))

    assert failure.value.next_step == (
        "./inv sandbox.down removes the sandbox, and ./inv sandbox.up creates it again."
    )


def test_a_damaged_note_of_a_process_counts_as_none(tmp_path: Path) -> None:
    processes = State(tmp_path).processes
    processes.mkdir()
    (processes / "kms.json").write_text("")

    assert supervisor.record_of(State(tmp_path), "kms") is None


@pytest.fixture
def here(tmp_path: Path) -> State:
    """A sandbox whose plan has one server, which nobody started."""
    write_plan(State(tmp_path).plan, [Component("etcd", ["false"], Probe("tcp://127.0.0.1:1"), 1)])
    return State(tmp_path)


@pytest.fixture
def sleeper(here: State) -> Iterator[processes.Process]:
    """A process of that sandbox, written down as its server etcd."""
    with marked(here.folder) as child:
        found = processes.find(child.pid)
        assert found
        supervisor.write_record(here, "etcd", supervisor.Record(found, 4))
        yield found


def test_a_slow_start_names_the_unhealthy_server(
    here: State, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lifecycle, "time", clock)
    monkeypatch.setattr(lifecycle, "ensure_supervisor", lambda _: None)
    here.log("etcd").parent.mkdir()
    here.log("etcd").write_text("".join(f"line {number}\n" for number in range(20)))

    with pytest.raises(TimedOut) as failure:
        lifecycle._await_healthy(here, 0.05)

    assert failure.value.what == "The sandbox's etcd is not healthy after 0.05 s."
    assert failure.value.why == "\n".join(["not running", *(f"line {number}" for number in range(5, 20))])
    assert failure.value.next_step == "./inv sandbox.logs etcd"
    assert capsys.readouterr().err.splitlines() == ["Starting etcd …", "Starting supervisor …"]


def test_a_component_that_keeps_ending_is_not_waited_for(here: State) -> None:
    one = Status("etcd", 0, 0, 4, "not running")

    with pytest.raises(Failure) as failure:
        lifecycle._check_crashes(here, one, {"etcd": 1})

    assert failure.value.what == "The sandbox's etcd keeps ending."
    assert failure.value.why == "It has written no log."
    lifecycle._check_crashes(here, one, {"etcd": 2})


def test_the_sandbox_runs_on_linux_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(Failure, match="The sandbox runs on Linux only.") as failure:
        lifecycle.up(checked_in_settings())

    assert failure.value.why == "This is darwin."


@pytest.mark.parametrize("keep_data", [True, False])
def test_what_no_supervisor_ends_is_ended_all_the_same(
    here: State, sleeper: processes.Process, *, keep_data: bool
) -> None:
    assert lifecycle.down(here, keep_data=keep_data) == 1

    assert not sleeper.alive
    assert here.plan.exists() == keep_data
    assert not here.processes.exists()


def test_a_running_server_has_a_process_and_health(here: State, sleeper: processes.Process) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        write_plan(here.plan, [Component("etcd", ["sleep"], Probe(f"tcp://127.0.0.1:{port}"), port)])

        assert Status("etcd", sleeper.pid, port, 4, "") in watching.status(here)

        server.shutdown(socket.SHUT_RDWR)  # nobody listens any more, and nobody else can meanwhile
        (etcd,) = [one for one in watching.status(here) if one.name == "etcd"]
        assert etcd.problem == "[Errno 111] Connection refused"


def test_nothing_is_up_where_no_server_runs(here: State) -> None:
    with pytest.raises(Failure) as failure:
        watching.require_up(here)

    assert failure.value.why == f"Nothing runs for {here.folder}."


def test_strays_are_ended_and_what_is_written_down_stays(here: State, sleeper: processes.Process) -> None:
    with marked(here.folder) as stray:
        watching._end_strays(here)

        assert stray.wait(60) < 0
        assert sleeper.alive


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[State]:
    """A sandbox that has nothing to run; its supervisor is ended afterwards."""
    here = State(tmp_path / "watched")
    here.processes.mkdir(parents=True)
    write_plan(here.plan, [])
    yield here
    processes.end(list(processes.owned_by(here.folder)))


def test_an_early_signal_does_not_end_the_supervisor(watched: State) -> None:
    """As by an `up` right after a task has brought it back."""
    watching.ensure_supervisor(watched)
    newborn = watching.running(watched, supervisor.NAME)
    assert newborn

    watching.ensure_supervisor(watched)

    until(lambda: not newborn.alive or hears(newborn, signal.SIGHUP))
    assert newborn.alive


def test_a_server_that_ends_during_takeover_is_restarted(
    here: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = processes.Process(2**22 + 1, 1)
    supervisor.write_record(here, "etcd", supervisor.Record(gone, 4))
    new = supervisor.Supervisor(here)
    with monkeypatch.context() as patch:
        patch.setattr(processes.Process, "alive", True)  # it was when it was last looked at
        new._read_plan()

    new._note_ends()

    assert new.watched["etcd"].process is None


def test_up_does_not_rely_on_a_supervisor_that_is_ending(watched: State) -> None:
    """As after a `down` that was killed while it waited for the supervisor's end."""
    watching.ensure_supervisor(watched)
    ending = watching.running(watched, supervisor.NAME)
    assert ending
    for number in (signal.SIGSTOP, signal.SIGTERM):
        processes.signal_to(ending, number)
    watching.ensure_supervisor(watched)
    processes.signal_to(ending, signal.SIGCONT)
    processes.wait_for_end([ending], 240)

    lifecycle._await_healthy(watched, 240)

    assert watching.running(watched, supervisor.NAME) not in {None, ending}


def test_a_supervisor_that_keeps_ending_is_not_waited_for(
    watched: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "ensure_supervisor", lambda _: None)

    with pytest.raises(Failure) as failure:
        lifecycle._await_healthy(watched, 60)

    assert failure.value.what == "The sandbox's supervisor keeps ending."


def test_a_supervisor_ends_cleanly_after_two_signals(tmp_path: Path) -> None:
    program = """if True:
        import os, signal, sys
        from pathlib import Path
        from sandbox.state import State
        from sandbox.supervisor import Supervisor
        class Told(Supervisor):
            def _read_plan(self):
                os.kill(os.getpid(), signal.SIGTERM)
            def _end_all(self):
                os.kill(os.getpid(), signal.SIGTERM)
                print("all have ended")
        Told(State(Path(sys.argv[1]))).run()
    """

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "all have ended\n", "")


def hears(process: processes.Process, number: signal.Signals) -> bool:
    """Whether a process takes this signal itself, and has none waiting."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    masks = {name: int(mask, 16) for name, mask in (line.split(":") for line in lines if line.startswith("S"))
             if name in {"SigCgt", "SigBlk", "ShdPnd"}}  # fmt: skip
    bit = 1 << number - 1
    return bool(masks["SigCgt"] & bit) and not (masks["SigBlk"] | masks["ShdPnd"]) & bit


def test_the_log_of_a_server_is_in_the_plan(here: State) -> None:
    assert watching.logs(here, "etcd") == here.folder / "logs" / "etcd.log"
    with pytest.raises(Failure) as failure:
        watching.logs(here, "kms")
    assert failure.value.why == "Known: supervisor, etcd."


def test_a_held_server_is_released(here: State) -> None:
    watching.hold(here, "etcd")
    assert (here.held / "etcd").exists()

    watching.release(here, "etcd")
    watching.release(here, "etcd")
    assert not (here.held / "etcd").exists()


@pytest.mark.parametrize("removals", range(5))
def test_a_removal_that_is_broken_off_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removals: int
) -> None:
    here = State(tmp_path / "sandbox")
    here.clusters.mkdir(parents=True)
    for file in (here.clusters / "ca.crt", here.plan, here.lock, here.ports):
        file.write_text("[]")
    unlink, left = os.unlink, iter(range(removals))

    def broken_off(*arguments: Any, **options: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(*arguments, **options)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        # The order is the file system's; this one begins with what tells that it is a sandbox's.
        patch.setattr(os, "scandir", _lock_first(os.scandir))
        patch.setattr(os, "unlink", broken_off)
        lifecycle.down(here, keep_data=False)
    lifecycle.down(here, keep_data=False)

    assert not here.folder.exists()


def _lock_first(scandir: Any) -> Any:
    @contextmanager
    def listed(path: Any) -> Any:
        with scandir(path) as entries:
            yield iter(sorted(entries, key=lambda entry: (entry.name not in FIRST, entry.name)))

    return listed


FIRST = ("up.lock", "components.json")
