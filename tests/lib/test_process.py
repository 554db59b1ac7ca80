"""Running programs, with real ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.lib import process
from tasks.lib.background import Background
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.signals import Terminated, unwinding
from tests.builders import ROOT


def test_returns_both_streams() -> None:
    done = process.run(("sh", "-c", "cat; echo problem >&2"), stdin=b"data", time_limit=60)

    assert done == process.Completed(b"data", b"problem\n")


def test_adds_variables_and_changes_folder(tmp_path: Path) -> None:
    done = process.run(
        ("sh", "-c", 'printf %s "$COLOUR "; pwd'), time_limit=60, cwd=tmp_path, env={"COLOUR": "red"}
    )

    assert done.stdout.decode() == f"red {tmp_path}\n"


def test_a_failing_program_names_command_code_and_last_lines() -> None:
    with pytest.raises(Failure) as caught:
        process.run(("sh", "-c", "seq 30 >&2; exit 3"), time_limit=60)

    assert caught.value.what == "`sh -c 'seq 30 >&2; exit 3'` exited with 3."
    assert caught.value.why.splitlines() == [str(number) for number in range(11, 31)]


def test_a_program_killed_by_a_signal_is_explained() -> None:
    with pytest.raises(Failure, match="was killed by signal 9"):
        process.run(("sh", "-c", "kill -9 $$"), time_limit=60)


def test_a_slow_program_times_out() -> None:
    with pytest.raises(TimedOut, match="did not finish within 0.01 s"):
        process.run(("sleep", "60"), time_limit=0.01)


def test_what_a_slow_program_said_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(subprocess.Popen[bytes]):
        def communicate(self, *_: object) -> Any:
            raise subprocess.TimeoutExpired("", 1, stderr=b"".join(b"%d\n" % number for number in range(30)))

    monkeypatch.setattr(subprocess, "Popen", Late)
    with pytest.raises(TimedOut) as caught:
        process.run(("sleep", "60"), time_limit=1)

    assert caught.value.why.splitlines() == [str(number) for number in range(10, 30)]


@pytest.mark.parametrize(
    "start", [lambda a: process.run(a, time_limit=1), process.stream], ids=["run", "stream"]
)
def test_a_missing_program_leads_to_doctor(start) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Failure, match="The program no-such-program was not found") as caught:
        start(("no-such-program",))

    assert "./inv doctor" in caught.value.next_step


@pytest.mark.parametrize(
    "start", [lambda a: process.run(a, time_limit=1), process.stream], ids=["run", "stream"]
)
@pytest.mark.parametrize(
    ("content", "mode", "why"), [("x", 0o644, "Permission denied."), ("\1", 0o755, "Exec format error.")]
)
def test_a_file_that_is_not_a_program_is_named(  # type: ignore[no-untyped-def]
    start, tmp_path: Path, content: str, mode: int, why: str
) -> None:
    path = tmp_path / "a program"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(Failure) as caught:
        start((str(path),))
    assert (caught.value.what, caught.value.why) == (f"The program {path} cannot be started.", why)
    assert caught.value.next_step.endswith(f"ls -l '{path}'")


def test_stream_returns_the_exit_code() -> None:
    assert process.stream(("sh", "-c", "exit 7")) == 7


def test_a_long_command_is_shortened() -> None:
    assert process.spelled(["echo", "x" * 300]) == "echo " + "x" * 192 + "…"


def test_an_interrupted_stream_ends_its_child(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = (
        "from tasks.lib.signals import unwinding; from tasks.lib import process\n"
        f"with unwinding(): process.stream(['sh', '-c', 'echo $$ > {mark}; exec sleep 60'])"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    _wait_until(lambda: mark.exists() and mark.read_text().strip() != "")

    parent.terminate()
    parent.wait(timeout=120)

    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_an_interrupt_at_the_start_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            children.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(Terminated), unwinding():
        process.stream(("sleep", "600"))

    assert [child.returncode for child in children] == [-signal.SIGTERM]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_time_out_names_the_setting_of_the_limit() -> None:
    for start in (process.run, process.stream):
        with pytest.raises(TimedOut) as caught:
            start(["sleep", "60"], time_limit=0.01, setting="time_limits.docker")
        assert caught.value.next_step == (
            "Run it again; if it needs more time, raise time_limits.docker in invoke.yaml."
        )


def test_what_a_program_writes_to_stderr_can_be_taken(capfd: pytest.CaptureFixture[str]) -> None:
    pieces: list[bytes] = []

    code = process.stream(
        ("sh", "-c", "echo out; echo first >&2; echo last >&2; exit 3"), errors=pieces.append
    )

    assert (code, b"".join(pieces)) == (3, b"first\nlast\n")
    assert capfd.readouterr() == ("out\n", "")


def is_running(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone_soon(*pids: int) -> bool:
    deadline = time.monotonic() + 120
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(is_running(pid) for pid in pids)


def test_a_program_beside_this_one_ends_with_the_block() -> None:
    with process.beside(("sh", "-c", "echo $$; echo problem >&2; sleep 60 & echo $!; wait")) as output:
        said = [output.readline().decode().strip() for _ in range(3)]
        assert said[1] == "problem"
        assert is_running(int(said[0]))

    assert gone_soon(int(said[0]), int(said[2]))


def test_a_program_beside_a_killed_one_ends_too() -> None:
    script = (
        "from tasks.lib import process\n"
        "with process.beside(('sh', '-c', 'echo $$; exec sleep 60')) as output:\n"
        "    print(output.readline().decode(), flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        assert is_running(pid)
        starter.kill()

    assert gone_soon(pid)


def test_ctrl_c_does_not_reach_a_program_beside_this_one() -> None:
    with process.beside(("sh", "-c", "ps -o pgid= -p $$; read _")) as output:
        assert int(output.readline()) != os.getpgrp()


def test_the_end_of_another_ends_a_program() -> None:
    other: Background[None] = Background(lambda: time.sleep(0.3))

    assert process.beside_another(("sleep", "60"), other=other, own_interrupts=False) is None


def test_a_programs_exit_code_comes_back_while_another_goes_on() -> None:
    other: Background[None] = Background(lambda: time.sleep(60))

    assert process.beside_another(("sh", "-c", "exit 3"), other=other, own_interrupts=False) == 3


def test_a_missing_program_beside_another_is_named() -> None:
    other: Background[None] = Background(lambda: None)

    with pytest.raises(Failure, match="no-such-program was not found"):
        process.beside_another(("no-such-program",), other=other, own_interrupts=False)


def test_a_program_with_its_own_interrupts_gets_ctrl_c_alone() -> None:
    other: Background[None] = Background(lambda: time.sleep(60))
    script = "trap 'echo interrupted; exit 5' INT; kill -INT $PPID $$; sleep 60 & wait"

    with unwinding():
        assert process.beside_another(("sh", "-c", script), other=other, own_interrupts=True) == 5
