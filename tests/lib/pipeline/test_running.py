"""The graph of steps, run with real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.errors import Failure, TimedOut
from tasks.lib.pipeline.model import parse
from tasks.lib.pipeline.resolving import ReadyStep, ready
from tasks.lib.pipeline.running import Graph, Launch
from tasks.lib.workspace import gone


def assert_gone(pid: int) -> None:
    """Wait for whoever adopted the process to take note of its end."""
    deadline = time.monotonic() + 10
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(pid)


class Recorded:
    """Runs steps whose args are shell commands, and keeps what was told."""

    def __init__(self, *steps: dict[str, Any], chosen: set[int] | None = None, timeout: float = 60) -> None:
        content = {"steps": [{"name": "x", **step} for step in steps], "timeout": f"{timeout}s"}
        build = ready(parse(content, "f"), {}, "f")
        self.lines: list[tuple[int, str]] = []
        self.stopped: list[int] = []
        everything = set(range(len(steps)))
        self.graph = Graph(build.steps, chosen or everything, self._launch, self._tell, timeout)

    def _launch(self, step: ReadyStep) -> Launch:
        return Launch(["sh", "-c", step.args[0]], stop=lambda: self.stopped.append(step.index))

    def _tell(self, step: ReadyStep, line: str) -> None:
        self.lines.append((step.index, line))

    def states(self) -> list[str]:
        return [result.state for result in self.graph.results.values()]

    def run(self) -> list[str]:
        self.graph.run()
        return self.states()


def test_steps_run_in_order_and_their_output_is_told() -> None:
    run = Recorded({"args": ["echo one"]}, {"args": ["echo two; echo three >&2"]})

    assert run.run() == ["SUCCESS", "SUCCESS"]
    assert run.lines == [
        (0, "starting"), (0, "one"), (0, "finished: SUCCESS"),
        (1, "starting"), (1, "two"), (1, "three"), (1, "finished: SUCCESS"),
    ]  # fmt: skip


def test_what_can_runs_side_by_side(tmp_path: Path) -> None:
    """Each of the two waits for a file that the other makes."""
    a, b = tmp_path / "a", tmp_path / "b"
    meet = "touch {0}; for _ in $$(seq 200); do [ -e {1} ] && exit 0; sleep 0.05; done; exit 1"
    run = Recorded(
        {"args": [meet.format(a, b)], "waitFor": ["-"]},
        {"args": [meet.format(b, a)], "waitFor": ["-"]},
    )

    assert run.run() == ["SUCCESS", "SUCCESS"]


def test_a_step_begins_when_those_it_waits_for_have_ended(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    run = Recorded(
        {"args": [f"sleep 0.3; touch {mark}"], "id": "a", "waitFor": ["-"]},
        {"args": ["exit 0"], "id": "b", "waitFor": ["-"]},
        {"args": [f"test -e {mark}"], "waitFor": ["a"]},
        {"args": [f"test ! -e {mark}"], "waitFor": ["b"]},
    )

    assert run.run() == ["SUCCESS"] * 4


def test_a_failure_ends_what_runs_and_keeps_the_rest_from_beginning() -> None:
    run = Recorded(
        {"args": ["sleep 60"], "id": "long", "waitFor": ["-"]},
        {"args": ["exit 3"], "id": "bad", "waitFor": ["-"]},
        {"args": ["echo never"], "waitFor": ["bad"]},
    )
    began = time.monotonic()

    assert run.run() == ["CANCELLED", "FAILURE", "NOT RUN"]
    assert time.monotonic() - began < 20
    assert run.graph.results[1].code == 3
    assert run.stopped == [0]
    assert (2, "starting") not in run.lines


def test_an_allowed_failure_lets_the_build_go_on() -> None:
    run = Recorded({"args": ["exit 3"], "allowFailure": True}, {"args": ["exit 0"]})

    assert run.run() == ["FAILURE", "SUCCESS"]
    assert run.graph.results[0].allowed
    assert (0, "finished: FAILURE (exit code 3), which is allowed") in run.lines


@pytest.mark.parametrize(("code", "expected"), [(3, ["FAILURE", "SUCCESS"]), (4, ["FAILURE", "NOT RUN"])])
def test_only_allowed_exit_codes_let_the_build_go_on(code: int, expected: list[str]) -> None:
    run = Recorded({"args": [f"exit {code}"], "allowExitCodes": [3, 5]}, {"args": ["exit 0"]})

    assert run.run() == expected


def test_a_step_s_limit_ends_it_with_all_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    run = Recorded({"args": [f"sleep 60 & echo $! > {pid}; wait"], "timeout": "0.5s"}, {"args": ["exit 0"]})

    assert run.run() == ["TIMEOUT", "NOT RUN"]
    assert run.stopped == [0]
    assert_gone(int(pid.read_text()))


def test_a_limit_reached_by_a_step_that_may_fail_is_allowed() -> None:
    run = Recorded({"args": ["sleep 60"], "timeout": "0.3s", "allowFailure": True}, {"args": ["exit 0"]})

    assert run.run() == ["TIMEOUT", "SUCCESS"]


def test_the_whole_build_s_limit_ends_everything() -> None:
    run = Recorded({"args": ["sleep 60"]}, {"args": ["exit 0"]}, timeout=0.5)

    with pytest.raises(TimedOut, match=r"longer than its timeout of 0\.5 s"):
        run.run()
    assert run.states() == ["CANCELLED", "NOT RUN"]


def test_steps_that_are_not_chosen_count_as_done() -> None:
    run = Recorded({"args": ["exit 1"]}, {"args": ["echo only"]}, {"args": ["exit 1"]}, chosen={1})

    assert run.run() == ["SKIPPED", "SUCCESS", "SKIPPED"]


def test_a_program_that_is_missing_is_a_failure_that_ends_the_rest() -> None:
    run = Recorded({"args": ["sleep 60"], "waitFor": ["-"]}, {"args": ["x"], "waitFor": ["-"]})
    launch = run.graph._launch
    run.graph._launch = lambda step: Launch(["/no/such/program"]) if step.index else launch(step)

    with pytest.raises(Failure, match="was not found"):
        run.run()
    assert run.states()[0] == "CANCELLED"


def test_an_interrupt_ends_the_steps(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[3])!r})
from tasks.lib.interruption import Terminated, signals_unwind
from tests.lib.pipeline.test_running import Recorded
run = Recorded({{"args": ["echo $$$$ > {tmp_path}/pid; sleep 60"]}})
try:
    with signals_unwind():
        run.run()
except Terminated:
    print(run.states())
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.05)

    child.send_signal(signal.SIGTERM)

    assert child.communicate(timeout=30)[0] == "['CANCELLED']\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
