"""Which process is which, and that only the right one is ended."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import processes
from sandbox.processes import Process
from tests.clock import Clock
from tests.sandbox.marked import marked

STUBBORN = "trap '' TERM; echo; exec sleep 60"


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with marked(tmp_path) as child:
        yield child


def test_a_process_is_itself(sleeper: "subprocess.Popen[bytes]") -> None:
    found = processes.find(sleeper.pid)

    assert found
    assert found.alive


def test_a_number_that_was_given_out_again_is_another_process(sleeper: "subprocess.Popen[bytes]") -> None:
    before = Process(sleeper.pid, 1)

    assert not before.alive
    assert not processes.signal_to(before, signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_sandboxs_processes_are_found_by_its_folder(
    sleeper: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    assert [process.pid for process in processes.owned_by(tmp_path)] == [sleeper.pid]
    assert list(processes.owned_by(tmp_path / "other")) == []


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    with subprocess.Popen(["sh", "-c", STUBBORN], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        found = processes.find(child.pid)
        assert found

        processes.end([found], grace=0.2)

        assert not found.alive
        assert child.wait(60) == -signal.SIGKILL


def test_nobody_has_the_number_of_a_process_that_ended(sleeper: "subprocess.Popen[bytes]") -> None:
    sleeper.kill()
    sleeper.wait()

    assert processes.find(sleeper.pid) is None


def test_a_reused_process_number_is_not_waited_for(
    sleeper: "subprocess.Popen[bytes]", clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "time", clock)

    assert processes.wait_for_end([Process(sleeper.pid, 1)], 30.0) == []
    assert clock.slept == []


def test_those_that_still_run_at_the_limit_are_named(sleeper: "subprocess.Popen[bytes]") -> None:
    found = processes.find(sleeper.pid)
    assert found

    assert processes.wait_for_end([Process(2**22 + 1, 1), found], 0.01) == [found]


def test_a_process_that_is_gone_gets_no_signal() -> None:
    assert not processes.signal_to(Process(2**22 + 1, 1), signal.SIGKILL)
