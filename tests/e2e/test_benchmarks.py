"""Every benchmark runs, in its smallest form and one round; its figures mean nothing here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench_build, bench_decrypt, bench_deploy, bench_diagnosis, bench_list, bench_render
from tests.builders import ROOT
from tests.sandbox_case import Sandbox


def test_every_benchmark_is_run_here() -> None:
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("bench_*.py")}

    assert {f"test_{script}" for script in scripts} <= globals().keys()


def test_bench_list(capsys: pytest.CaptureFixture[str]) -> None:
    bench_list.main(rounds=1)

    assert "| ./inv --list |" in capsys.readouterr().out


def test_bench_decrypt(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _program: None)  # gcloud alone would take seconds

    bench_decrypt.main(cases=[(1, 0.01)], rounds=(1, 1))

    assert "| ./inv decrypt, the whole command |" in capsys.readouterr().out


def test_bench_render(capsys: pytest.CaptureFixture[str]) -> None:
    bench_render.main(rounds=1)

    assert "| ./inv render |" in capsys.readouterr().out


def test_bench_deploy(sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = bench_deploy.parser().parse_args(["--changes", "nothing", "--rounds", "1", "--delay", "1"])

    bench_deploy.measure(sandbox, tmp_path, asked)

    assert "### Goals" in capsys.readouterr().out


def test_bench_diagnosis(sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench_diagnosis.measure(sandbox, tmp_path, bench_diagnosis.FAULTS[:1], 1)

    assert "| quota used up |" in capsys.readouterr().out


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_bench_build(capsys: pytest.CaptureFixture[str]) -> None:
    bench_build.main(rounds=1)

    out = capsys.readouterr().out
    if "Not measured" in out:
        pytest.skip(out.strip())
    assert "### push, unchanged" in out


@pytest.mark.skipif(not shutil.which("go"), reason="the proxy that adds latency is a Go program")
def test_bench_upload() -> None:
    """As a command: it raises its own limit of open files."""
    smallest = {
        "LOOKIT_BENCH_UPLOAD": "smallest",
        "LOOKIT_BENCH_ROUNDS": "2",
        "LOOKIT_BENCH_TOOLS": "ours,transfer_manager",
    }
    argv = [sys.executable, "benchmarks/bench_upload.py"]
    env = {**os.environ, **smallest, "PYTHONPATH": str(ROOT)}

    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr + done.stdout
    assert "| 1 % changed | ours |" in done.stdout
