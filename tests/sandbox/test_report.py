"""What a person or a script sees of a sandbox."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import report
from sandbox.watching import Status
from tests.builders import ROOT

HEALTHY = Status("google", 17, 20000, 1, "")
DOWN = Status("lookit-staging.etcd", 0, 0, 3, "[Errno 111] Connection refused")


def test_a_row_tells_process_port_starts_and_health(capsys: pytest.CaptureFixture[str]) -> None:
    report.show([HEALTHY, DOWN])

    shown = capsys.readouterr()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.err.splitlines()]
    assert ["google", "17", "20000", "1", "ok"] in rows
    assert ["lookit-staging.etcd", "-", "-", "3", "[Errno 111] Connection refused"] in rows
    assert shown.out == ""


def test_a_script_gets_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    report.emit_json([HEALTHY])

    assert json.loads(capsys.readouterr().out) == [
        {"name": "google", "pid": 17, "port": 20000, "starts": 1, "problem": ""}
    ]


def test_nothing_is_said_of_a_healthy_sandbox(capsys: pytest.CaptureFixture[str]) -> None:
    report.require_healthy([HEALTHY])

    assert capsys.readouterr() == ("", "")


def test_a_log_is_printed_as_far_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etcd.log").write_bytes(b"started \xff\nready\n")

    report.print_log(tmp_path / "etcd.log", follow=False)

    assert capsys.readouterr().out == "started \ufffd\nready\n"


def test_a_component_that_has_written_nothing_has_an_empty_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.print_log(tmp_path / "logs" / "etcd.log", follow=False)

    assert capsys.readouterr().out == ""


def test_a_log_that_is_followed_goes_on_until_interrupted(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("one\n")
    script = (
        "import pathlib, sys; from sandbox import report;"
        "report.LOOK_AGAIN = 0.01; report.print_log(pathlib.Path(sys.argv[1]), follow=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, log], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ)
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "one\n"
        with log.open("a") as file:
            file.write("two\n")
        assert child.stdout.readline() == "two\n"
        child.terminate()
