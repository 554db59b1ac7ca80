"""What a pipeline leaves in the engine: nothing, and the next run removes what a killed one left."""

import os
import platform
import re

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.pipeline import containers
from tasks.lib.pipeline.reading import parse
from tasks.lib.pipeline.steps import ReadyStep, ready
from tests.lib.image.docker_program import DockerProgram, Says, engine

__all__ = ["engine"]
GONE = 2**22 + 1  # more than Linux gives


def test_what_a_run_left_is_removed(engine: DockerProgram) -> None:
    engine.answers(Says("ps *", "run-0\nrun-1\n"), Says("volume ls *", "run-workspace\nrun-home\n"))

    containers.remove("run", 60)

    assert [line for line in engine.asked if " rm " in f" {line} "] == [
        "rm --force --volumes run-0", "rm --force --volumes run-1", "volume rm run-workspace run-home",
    ]  # fmt: skip


def test_nothing_is_removed_where_nothing_is_left(engine: DockerProgram) -> None:
    containers.remove("run", 60)

    assert [line.split(" --filter")[0] for line in engine.asked] == ["ps --all", "volume ls"]


def test_a_warning_names_the_run_whose_things_remain(
    engine: DockerProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers(Says("ps *", err="Cannot connect", code=1))

    containers.remove("run", 60)

    assert capsys.readouterr().err == "Warning: some containers or volumes of run remain: Cannot connect\n"


def test_a_run_s_name_holds_machine_and_process() -> None:
    assert re.fullmatch(
        f"lookit-pipeline-{re.escape(platform.node()[:24])}-{os.getpid()}-[0-9a-f]{{6}}",
        containers.make_name(),
    )


def test_leftovers_of_killed_runs_are_removed_and_running_steps_named(
    engine: DockerProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    here = f"lookit-pipeline-{platform.node()[:24]}"
    killed, busy, alive = f"{here}-{GONE}-00000a", f"{here}-{GONE}-00000b", f"{here}-{os.getpid()}-00000c"
    elsewhere = f"lookit-pipeline-other-{GONE}-00000d"
    volumes = [f"{run}-{kind}" for run in (killed, busy, alive, elsewhere) for kind in ("home", "volume-x-1")]
    engine.answers(
        Says(f"volume ls *name={killed} *", "\n".join(volumes[:2])),
        Says(f"volume ls *name={here}- *", "\n".join(volumes)),
        Says(f"ps --filter *={busy} *", f"{busy}-1"),
        Says(f"ps --all *={killed} *", f"{killed}-copy"),
    )

    containers.sweep(60)

    assert [line for line in engine.asked if " rm " in f" {line} "] == [
        f"rm --force --volumes {killed}-copy", f"volume rm {killed}-home {killed}-volume-x-1",
    ]  # fmt: skip
    assert capsys.readouterr().err == (
        f"A pipeline was killed, and steps of it are still running: {busy}-1.  "
        f"See `docker logs {busy}-1`; end it with `docker stop {busy}-1`.\n"
    )


def step(**fields: object) -> ReadyStep:
    return ready(parse({"steps": [{"name": "docker", **fields}]}, "f"), {}, "f").steps[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"args": ["run", "--volume", "/workspace:/workspace", "x"]},
        {"args": ["run", "-v", "/workspace/sub:/here:ro", "x"]},
        {"args": ["run", "--volume=/workspace:/workspace", "x"]},
        {"args": ["run", "--mount", "type=bind,source=/workspace,target=/workspace", "x"]},
        {"entrypoint": "bash", "args": ["-c", 'docker run -v "$$PWD:/here" x']},
        {"script": "docker run -v $(pwd)/sub:/here x"},
    ],
    ids=lambda fields: " ".join([*fields.get("args", [fields.get("script")])]),
)
def test_a_mount_of_cloud_build_s_own_machine_is_refused(fields: dict[str, object]) -> None:
    """Docker would mount an empty folder of this machine."""
    with pytest.raises(UsageError) as refused:
        containers.check([step(**fields)], "host")

    assert 'write --volumes-from "$(hostname)" instead' in refused.value.why


@pytest.mark.parametrize("argument", ["--network=cloudbuild", "--network cloudbuild", "--net=cloudbuild"])
def test_the_cloudbuild_network_is_refused_unless_steps_join_it(argument: str) -> None:
    joining = step(args=["run", *argument.split(), "x"])

    with pytest.raises(UsageError) as refused:
        containers.check([joining], "host")
    containers.check([joining], "cloudbuild")

    assert 'write --network "container:$(hostname)" instead' in refused.value.why


@pytest.mark.parametrize(
    "args",
    [
        ["run", "--volumes-from", "$(hostname)", "--network", "container:$(hostname)", "x"],
        ["run", "--volume", "data:/workspace", "--volume=/var/run/docker.sock:/var/run/docker.sock", "x"],
        ["build", "--source", "/workspace", "--network=host"],
    ],
)
def test_what_works_here_as_there_is_not_refused(args: list[str]) -> None:
    containers.check([step(args=args)], "host")
