"""What runs of steps in containers leave in the engine: nothing, and the next run looks after those killed."""

import os
import platform
import re

import pytest

from tasks.lib.pipeline import leftovers
from tests.lib.image.docker_program import DockerProgram, Says, engine

__all__ = ["engine"]
GONE = 2**22 + 1  # more than Linux gives


def test_what_a_run_left_is_removed(engine: DockerProgram) -> None:
    engine.answers(Says("ps *", "run-0\nrun-1\n"), Says("volume ls *", "run-workspace\nrun-home\n"))

    leftovers.remove("run", 5)

    assert [line for line in engine.asked if " rm " in f" {line} "] == [
        "rm --force --volumes run-0", "rm --force --volumes run-1", "volume rm run-workspace run-home",
    ]  # fmt: skip


def test_where_nothing_is_left_nothing_is_removed(engine: DockerProgram) -> None:
    leftovers.remove("run", 5)

    assert [line.split(" --filter")[0] for line in engine.asked] == ["ps --all", "volume ls"]


def test_what_cannot_be_removed_is_said(engine: DockerProgram, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answers(Says("ps *", err="Cannot connect", code=1))

    leftovers.remove("run", 5)

    assert capsys.readouterr().err == "Warning: something of run is still there: Cannot connect\n"


def test_a_run_s_name_says_whose_it_is() -> None:
    assert re.fullmatch(
        f"lookit-pipeline-{re.escape(platform.node())}-{os.getpid()}-[0-9a-f]{{6}}", leftovers.make_name()
    )


def test_what_killed_runs_left_is_removed_and_what_goes_on_is_named(
    engine: DockerProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    here = f"lookit-pipeline-{platform.node()}"
    killed, busy, alive = f"{here}-{GONE}-00000a", f"{here}-{GONE}-00000b", f"{here}-{os.getpid()}-00000c"
    elsewhere = f"lookit-pipeline-other-{GONE}-00000d"
    volumes = [f"{run}-{kind}" for run in (killed, busy, alive, elsewhere) for kind in ("home", "volume-x-1")]
    engine.answers(
        Says(f"volume ls *name={killed} *", "\n".join(volumes[:2])),
        Says(f"volume ls *name={here}- *", "\n".join(volumes)),
        Says(f"ps --filter *={busy} *", f"{busy}-1"),
        Says(f"ps --all *={killed} *", f"{killed}-copy"),
    )

    leftovers.sweep(5)

    assert [line for line in engine.asked if " rm " in f" {line} "] == [
        f"rm --force --volumes {killed}-copy", f"volume rm {killed}-home {killed}-volume-x-1",
    ]  # fmt: skip
    assert capsys.readouterr().err == (
        f"A pipeline was killed, and steps of it go on: {busy}-1.  "
        f"See `docker logs {busy}-1`; end it with `docker stop {busy}-1`.\n"
    )
