"""The graph of steps, run with real processes."""

import os
import select
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tasks.lib.errors import Failure, TimedOut
from tasks.lib.pipeline.graph import LONGEST_LINE, Launch
from tasks.lib.pipeline.steps import ReadyStep
from tasks.lib.process import Ended
from tasks.lib.redaction import Redactor
from tests.heard import until
from tests.lib.pipeline.recorded import Recorded


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A FIFO that a step's programs may hold open for writing; see `nobody_holds`."""
    path = tmp_path / "held"
    os.mkfifo(path)
    return path


def nobody_holds(fifo: Path, seconds: float = 60) -> bool:
    """Whether all programs that had the FIFO open for writing have ended, or do so soon.

    The system closes their files at once; their numbers stay until whoever adopted them takes note.
    """
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.close(os.open(fifo, os.O_WRONLY))  # the end of the last writer can be read only where there was one
    try:
        return bool(select.select([reader], [], [], seconds)[0])
    finally:
        os.close(reader)


def test_steps_run_in_order_and_their_output_is_told() -> None:
    run = Recorded({"args": ["echo one"]}, {"args": ["echo two; echo three >&2"]})

    assert run.run() == ["SUCCESS", "SUCCESS"]
    assert run.lines == [
        (0, "starting"), (0, "one"), (0, "finished: SUCCESS"),
        (1, "starting"), (1, "two"), (1, "three"), (1, "finished: SUCCESS"),
    ]  # fmt: skip


def test_output_without_line_ends_takes_little_memory() -> None:
    run = Recorded({"args": ["head -c 20000000 /dev/zero | tr '\\0' x; echo; echo after; printf end"]})

    tracemalloc.start()
    try:
        assert run.run() == ["SUCCESS"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 5_000_000
    assert [line for _, line in run.lines] == [
        "starting", "x" * LONGEST_LINE + "…", "(19,934,464 more bytes of this line are left out)",
        "after", "end", "finished: SUCCESS",
    ]  # fmt: skip


@pytest.mark.parametrize("shown", [6, 7, 8, 9, 12])
def test_a_secret_in_a_cut_line_is_redacted(shown: int) -> None:
    """After so many of its bytes, of which 8 are in the middle of a character."""
    secret = "canary-ä5b7c2f90aa"
    run = Recorded({"args": [f"head -c {LONGEST_LINE - shown} /dev/zero | tr '\\0' x; echo '{secret}'"]})

    assert run.run() == ["SUCCESS"]

    told = [Redactor([secret]).line(line) for _, line in run.lines]
    assert told[1] == "x" * (LONGEST_LINE - shown) + "[redacted]…"


def test_a_step_says_how_long_it_ran() -> None:
    run = Recorded({"args": ["sleep 0.3"]}, {"args": ["exit 0"]})
    run.run()

    long, short = (run.graph.results[number].seconds for number in (0, 1))

    assert 0.3 <= long < 60
    assert 0 < short < 60


def test_what_can_runs_side_by_side(tmp_path: Path) -> None:
    """Each of the two waits for a file that the other makes."""
    a, b = tmp_path / "a", tmp_path / "b"
    meet = "touch {0}; until [ -e {1} ]; do sleep 0.01; done"
    run = Recorded(
        {"args": [meet.format(a, b)], "waitFor": ["-"]},
        {"args": [meet.format(b, a)], "waitFor": ["-"]},
    )

    assert run.run() == ["SUCCESS", "SUCCESS"]


def test_a_step_begins_when_those_it_waits_for_have_ended(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    after_b = tmp_path / "after b"
    run = Recorded(
        {
            "args": [f"until [ -e '{after_b}' ]; do sleep 0.01; done; touch {mark}"],
            "id": "a",
            "waitFor": ["-"],
        },
        {"args": ["exit 0"], "id": "b", "waitFor": ["-"]},
        {"args": [f"test -e {mark}"], "waitFor": ["a"]},
        {"args": [f"test ! -e {mark} && touch '{after_b}'"], "waitFor": ["b"]},
    )

    assert run.run() == ["SUCCESS"] * 4


def test_a_failure_stops_running_and_later_steps() -> None:
    run = Recorded(
        {"args": ["sleep 600"], "id": "long", "waitFor": ["-"]},
        {"args": ["exit 3"], "id": "bad", "waitFor": ["-"]},
        {"args": ["echo never"], "waitFor": ["bad"]},
    )

    assert run.run() == ["CANCELLED", "FAILURE", "NOT RUN"]
    assert run.graph.results[1].code == 3
    assert not any(result.succeeded for result in run.graph.results.values())
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


@pytest.mark.parametrize(("code", "expected"), [(3, ["FAILURE", "SUCCESS"]), (4, ["FAILURE", "NOT RUN"])])
def test_allowed_exit_codes_win_over_allow_failure(code: int, expected: list[str]) -> None:
    run = Recorded(
        {"args": [f"exit {code}"], "allowFailure": True, "allowExitCodes": [3]}, {"args": ["exit 0"]}
    )

    assert run.run() == expected


def test_a_limit_has_no_exit_code_that_could_be_allowed() -> None:
    run = Recorded(
        {"args": ["sleep 60"], "timeout": "0.1s", "allowFailure": True, "allowExitCodes": [3]},
        {"args": ["exit 0"]},
    )

    assert run.run() == ["TIMEOUT", "NOT RUN"]


def test_a_step_s_limit_ends_it_with_all_it_started(held: Path) -> None:
    run = Recorded({"args": [f"sleep 600 1<> {held} & wait"], "timeout": "0.2s"}, {"args": ["exit 0"]})

    assert run.run() == ["TIMEOUT", "NOT RUN"]
    assert run.stopped == [0]
    assert nobody_holds(held)


def test_a_step_that_may_fail_may_time_out() -> None:
    run = Recorded({"args": ["sleep 60"], "timeout": "0.1s", "allowFailure": True}, {"args": ["exit 0"]})

    assert run.run() == ["TIMEOUT", "SUCCESS"]


def test_the_whole_build_s_limit_ends_everything() -> None:
    run = Recorded({"args": ["sleep 60"]}, {"args": ["exit 0"]}, timeout=0.2)

    with pytest.raises(TimedOut, match=r"longer than its timeout of 0\.2 s"):
        run.run()
    assert run.states() == ["CANCELLED", "NOT RUN"]


def test_steps_that_are_not_chosen_count_as_done() -> None:
    run = Recorded({"args": ["exit 1"]}, {"args": ["echo only"]}, {"args": ["exit 1"]}, chosen={1})

    assert run.run() == ["SKIPPED", "SUCCESS", "SKIPPED"]


def test_a_missing_program_stops_the_build() -> None:
    run = Recorded({"args": ["sleep 60"], "waitFor": ["-"]}, {"args": ["x"], "waitFor": ["-"]})
    launch = run.graph._launch
    run.graph._launch = lambda step: Launch(["/no/such/program"]) if step.index else launch(step)

    with pytest.raises(Failure, match="was not found"):
        run.run()
    assert run.states()[0] == "CANCELLED"


@pytest.mark.parametrize(
    ("argv", "env", "what"),
    [
        (["/"], {}, "The program / cannot be started."),
        (["true", "x" * 200_000], {}, "The program true cannot be started."),
        (["true"], {"A": "a\0b"}, "Step #1 cannot be started."),
        (["true", "a\0b"], {}, "Step #1 cannot be started."),
    ],
    ids=["a folder", "an argument too long", "NUL in a variable", "NUL in an argument"],
)
def test_an_unstartable_program_stops_the_build(argv: list[str], env: dict[str, str], what: str) -> None:
    run = Recorded({"args": ["sleep 60"], "waitFor": ["-"]}, {"args": ["x"], "waitFor": ["-"]})
    launch = run.graph._launch
    run.graph._launch = lambda step: Launch(argv, env) if step.index else launch(step)

    with pytest.raises(Failure) as failure:
        run.run()

    assert failure.value.what == what
    assert run.states()[0] == "CANCELLED"


def test_a_step_that_cannot_be_stopped_is_reported(held: Path) -> None:
    """As where Docker's engine went away: what came before is still how the build ended."""
    run = Recorded(
        {"args": [f"sleep 600 1<> {held} & wait"], "waitFor": ["-"]},
        {"args": [f"sleep 600 1<> {held} & wait"], "waitFor": ["-"]},
        {"args": ["exit 3"], "waitFor": ["-"]},
    )
    launch = run.graph._launch

    def stop(_: Ended) -> None:
        raise Failure("`docker stop` failed.", "No engine answers.")

    run.graph._launch = lambda step: replace(launch(step), stop=stop)

    assert run.run() == ["CANCELLED", "CANCELLED", "FAILURE"]
    assert nobody_holds(held)
    assert [line for _, line in run.lines if "No engine" in line] == 2 * [
        "may still be running: No engine answers."
    ]


def stopping(run: Recorded, **stops: Callable[[], object]) -> None:
    """Have steps stopped so, by their ids."""
    launch = run.graph._launch

    def launched(step: ReadyStep) -> Launch:
        def stop(_: Ended) -> None:
            stops[step.identifier]()

        return replace(launch(step), stop=stop) if step.identifier in stops else launch(step)

    run.graph._launch = launched


def test_steps_are_ended_together() -> None:
    """Each waits until all of them are being stopped."""
    together = threading.Barrier(3)
    stop = partial(together.wait, 60)
    long = {"args": ["sleep 600"], "waitFor": ["-"]}
    run = Recorded(
        *({**long, "id": name} for name in "abc"), {"args": ["exit 3"], "id": "bad", "waitFor": ["-"]}
    )
    stopping(run, a=stop, b=stop, c=stop)

    assert run.run() == ["CANCELLED", "CANCELLED", "CANCELLED", "FAILURE"]
    assert not together.broken


def test_a_limit_is_kept_while_another_step_is_being_ended() -> None:
    second = threading.Event()
    waited: list[bool] = []
    late = {"args": ["sleep 600"], "waitFor": ["-"], "timeout": "0.1s", "allowFailure": True}
    run = Recorded({**late, "id": "a"}, {**late, "id": "b"}, {"args": ["exit 0"]})
    stopping(run, a=lambda: waited.append(second.wait(60)), b=second.set)

    assert run.run() == ["TIMEOUT", "TIMEOUT", "SUCCESS"]
    assert waited == [True]


def test_no_step_begins_after_the_build_s_end() -> None:
    """The first ends only after the build's limit, which is what stops the second."""
    second = threading.Event()
    waited: list[bool] = []
    run = Recorded(
        {"args": ["sleep 600"], "id": "a", "waitFor": ["-"], "timeout": "0.1s", "allowFailure": True},
        {"args": ["sleep 600"], "id": "b", "waitFor": ["-"]},
        {"args": ["echo never"], "waitFor": ["a"]},
        timeout=0.5,
    )
    stopping(run, a=lambda: waited.append(second.wait(60)), b=second.set)

    with pytest.raises(TimedOut, match=r"longer than its timeout of 0\.5 s"):
        run.run()

    assert waited == [True]
    assert run.states()[1:] == ["CANCELLED", "NOT RUN"]
    assert (2, "starting") not in run.lines


def test_the_time_limit_of_the_build_stops_all_steps() -> None:
    other = threading.Event()
    waited: list[bool] = []
    run = Recorded(
        {"args": ["sleep 600"], "id": "a", "waitFor": ["-"], "timeout": "0.1s"},
        {"args": ["sleep 600"], "id": "b", "waitFor": ["-"]},
    )
    stopping(run, a=lambda: waited.append(other.wait(60)), b=other.set)

    assert run.run() == ["TIMEOUT", "CANCELLED"]
    assert waited == [True]


def test_a_step_does_not_see_what_it_shall_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOR_ANOTHER", "canary")
    run = Recorded({"args": ['echo "<$$FOR_ANOTHER>"']})
    launch = run.graph._launch
    run.graph._launch = lambda step: replace(launch(step), without={"FOR_ANOTHER"})

    assert run.run() == ["SUCCESS"]
    assert (0, "<>") in run.lines


def test_an_interrupt_ends_the_steps(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[3])!r})
from tasks.lib.signals import Terminated, unwinding
from tests.lib.pipeline.recorded import Recorded
run = Recorded({{"args": ["echo $$$$ > {tmp_path}/pid; sleep 60"]}})
try:
    with unwinding():
        run.run()
except Terminated:
    print(run.states())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        try:
            until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())

            child.send_signal(signal.SIGTERM)

            assert child.communicate(timeout=240)[0] == "['CANCELLED']\n"
        finally:
            child.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
