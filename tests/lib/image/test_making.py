"""What is being made in the engine when a task is told to end is not there afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.builders import ROOT
from tests.lib.image.slow_engine import SlowEngine
from tests.sample_checkout import Sample, sample

BUILD = "steps: [{name: far, args: [x]}]\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Sample:
    return sample(tmp_path / "lookit-api")


@pytest.mark.parametrize(
    ("task", "slow"),
    [
        ("test", "network create"),
        ("test", "run --detach"),
        ("test", "run --rm"),
        ("pipeline", "create --name"),
        ("pipeline", "run --rm"),
    ],
)
def test_an_interrupted_task_removes_what_it_creates(
    checkout: Sample, tmp_path: Path, task: str, slow: str
) -> None:
    """Told as a terminal tells it, with the task's whole process group: Docker's client hears it as well."""
    engine = SlowEngine(tmp_path / "engine", slow)
    (tmp_path / "f.yaml").write_text(BUILD)
    options = ["--branch", "develop", "--file", str(tmp_path / "f.yaml")] if task == "pipeline" else []
    with started([task, "--source", str(checkout.folder), *options], engine) as running:
        engine.wait_until_asked()

        os.killpg(running.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            running.wait(0.2)  # what ends now does so before the thing is made
        engine.finish()

        printed, _ = running.communicate(timeout=240)
        assert running.returncode == 130, printed
        assert engine.made == set()


@contextmanager
def started(arguments: Sequence[str], engine: SlowEngine) -> Iterator["subprocess.Popen[str]"]:
    """A task in a process group of its own while inside, with this engine."""
    running = subprocess.Popen(
        [sys.executable, "-m", "tasks", *arguments],
        cwd=ROOT, env={**os.environ, "PATH": engine.path}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
