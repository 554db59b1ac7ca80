"""Deploys, uploads and starts of a sandbox, told to end at random moments while their coverage is measured.

Coverage takes a lock for every line that it notes: a signal that is raised in there leaves that lock held for
ever.  LOOKIT_SIGNAL_RUNS=300 makes as many runs as that; by default there are a few.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from sandbox import lifecycle
from sandbox.state import State
from tests.builders import ROOT
from tests.deployed import in_every_phase
from tests.heard import LONGEST
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RUNS = int(os.environ.get("LOOKIT_SIGNAL_RUNS", "12"))
NUMBERS = (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Seconds.  The first two are for the start of Python and the imports; what has ended by then ended by itself.
MOMENTS = (0.1, 1.0, 4.0, 10.0)
FILES = 300
# As ./inv starts Python; then coverage begins, as early as it can.
START = """import runpy, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("begun", flush=True)
import coverage
coverage.Coverage(config_file=sys.argv.pop(1)).start()
sys.path.insert(0, sys.argv[1])
del sys.argv[1]
runpy.run_module("tasks", run_name="__main__", alter_sys=True)"""
COVERAGE = "[run]\nbranch = true\nparallel = true\nsource = tasks/lib\ndata_file = {folder}/.coverage\n"


@pytest.fixture
def measured(tmp_path: Path) -> list[str]:
    """What runs tasks, and measures their coverage."""
    settings = tmp_path / "coveragerc"
    settings.write_text(COVERAGE.format(folder=tmp_path))
    return [sys.executable, "-P", "-c", START, str(settings), str(ROOT), "--search-root", str(ROOT)]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built app."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "index.html").write_text("<html><head></head><body></body></html>")
    for number in range(FILES):
        (folder / f"{number}.txt").write_bytes(random.Random(number).randbytes(20_000))
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """The folder of a sandbox that is brought up, or not quite."""
    state = State(tmp_path_factory.mktemp("own") / "state")
    yield state
    lifecycle.down(state, keep_data=False)


def told_to_end(argv: Sequence[str], variables: Mapping[str, str], draw: random.Random) -> str:
    """Start a task, tell it to end at a random moment and wait for that; returns what it printed."""
    number, moment = draw.choice(NUMBERS), draw.uniform(0, draw.choice(MOMENTS))
    running = subprocess.Popen(
        argv, cwd=ROOT, env={**variables, "PYTHONFAULTHANDLER": "1"}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert running.stdout
        assert running.stdout.readline() == "begun\n"  # until then it is Python's own affair
        time.sleep(moment)
        running.send_signal(number)
        when = f"{number.name} came {moment:.2f} s after the start"
        try:
            printed, _ = running.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGABRT)  # it tells what each of its threads does
            pytest.fail(f"{when}, and it goes on:\n{running.communicate()[0]}")
    finally:
        running.kill()
    # Until tasks run, and when all is done, the system itself ends it.
    assert running.returncode in {0, 128 + number, -number}, f"{when}:\n{printed}"
    assert "Traceback" not in printed, f"{when}:\n{printed}"
    assert "Stopped by " in printed or running.returncode != 128 + number, f"{when}:\n{printed}"
    return printed


@pytest.mark.parametrize("seed", range(0, RUNS, 3))
def test_a_deploy_ends_and_gives_the_lock_back(environment: Case, measured: list[str], seed: int) -> None:
    environment.hold_only(*in_every_phase())
    argv = environment.argv("deploy", "--branch", "develop", "--commit", "a" * 40)

    printed = told_to_end([*measured, *argv[3:]], environment.env(), random.Random(seed))

    leases = json.loads(environment.kubectl("get", "leases", "-o", "json"))["items"]
    assert not [lease for lease in leases if lease["spec"].get("holderIdentity")], printed


@pytest.mark.parametrize("seed", range(1, RUNS, 3))
def test_an_upload_ends(environment: Case, measured: list[str], app: Path, seed: int) -> None:
    argv = environment.argv("upload", "--environment", "staging", "--archive", str(app), "--prefix", "app")

    told_to_end([*measured, *argv[3:]], environment.env(), random.Random(seed))


@pytest.mark.parametrize("seed", range(2, RUNS, 3))
def test_the_start_of_a_sandbox_ends(measured: list[str], own: State, seed: int) -> None:
    draw = random.Random(seed)
    if draw.random() < 0.5:
        lifecycle.down(own, keep_data=False)

    told_to_end(
        [*measured, "sandbox.up", "--environment", "staging"],
        {**os.environ, "INVOKE_SANDBOX_STATE": str(own.folder)},
        draw,
    )
