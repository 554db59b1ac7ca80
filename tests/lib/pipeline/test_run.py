"""What goes on around a pipeline's steps: the workspace, what only containers can run, images, and the end."""

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.console import Styled
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.image.checkout import variables
from tasks.lib.pipeline import containers, local, run, secrets
from tasks.lib.pipeline.graph import Launch, Result
from tasks.lib.pipeline.reading import parse
from tasks.lib.pipeline.steps import ReadyBuild, ready
from tasks.lib.redaction import Secret
from tests.builders import checked_in_settings
from tests.lib.image.docker_program import DockerProgram, Says, engine
from tests.program import Here
from tests.sample_checkout import Sample, sample

__all__ = ["engine"]

OWN = "gcr.io/mit-lookit/lookit-orchestrator"
CACHE = {"name": "cache", "path": "/cache"}
NAMED_TASKS = {"a": "no-such-task", "b": "--version", "c": "no-such-task"}
SETTINGS = checked_in_settings()


def build(*steps: dict[str, Any]) -> ReadyBuild:
    return ready(parse({"steps": [{"name": "ubuntu", **step} for step in steps]}, "f"), {}, "f")


@pytest.fixture
def checkout(tmp_path: Path) -> Sample:
    return sample(tmp_path / "lookit-api")


def test_a_bad_image_name_is_told_before_a_step_runs(checkout: Sample, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(f"steps: [{{name: {OWN}, args: [settings]}}]\nimages: [gcr.io/X/y]\n")
    request = run.Request(
        file=file, source=checkout.folder, environment=SETTINGS.environment("staging"),
        variables=variables(SETTINGS, checkout.folder), substitutions={}, in_containers=False,
    )  # fmt: skip

    with pytest.raises(UsageError, match="'gcr.io/X/y' is not the name of an image"):
        run.run_build(SETTINGS, request)


def test_substitutions_are_taken_as_they_are_given() -> None:
    assert run.named(["_A=1", "_B2=x=y", "_C="]) == {"_A": "1", "_B2": "x=y", "_C": ""}


@pytest.mark.parametrize(
    ("options", "wrong"),
    [(["_A=1", "_B"], "_B"), (["A=1", "_B=2", "_c=3"], "A=1, _c=3"), (["_A", "=1"], "_A, =1")],
)
def test_only_malformed_substitutions_are_named(options: list[str], wrong: str) -> None:
    with pytest.raises(UsageError) as refused:
        run.named(options)

    assert refused.value.what == f"A substitution is given as _NAME=VALUE, not as {wrong}."


@pytest.mark.parametrize(
    ("state", "code", "error", "what"),
    [
        ("FAILURE", 3, Failure, 'The pipeline stopped at step #0 - "test": it exited with 3.'),
        ("FAILURE", -9, Failure, 'The pipeline stopped at step #0 - "test": it was killed.'),
        ("FAILURE", None, Failure, 'The pipeline stopped at step #0 - "test": it was killed.'),
        ("TIMEOUT", None, TimedOut, 'The pipeline stopped at step #0 - "test": it took longer than 30 s.'),
    ],
)
def test_the_first_failure_says_how_to_continue(
    state: Any, code: int | None, error: type[Failure], what: str
) -> None:
    step = build({"id": "test", "timeout": "30s"}).steps[0]

    with pytest.raises(Failure) as failure:
        run.conclude([Result(step, "SUCCESS"), Result(step, state, code), Result(step, "NOT RUN")])

    assert type(failure.value) is error
    assert failure.value.what == what
    assert failure.value.next_step == "Once it is fixed, continue from there: ./inv pipeline --from test …"


@pytest.mark.parametrize(
    ("step", "spelled"),
    [({"id": "unit test"}, "'unit test'"), ({}, "0")],
    ids=["an id with a blank", "no id"],
)
def test_the_command_to_continue_can_be_pasted(step: dict[str, Any], spelled: str) -> None:
    with pytest.raises(Failure) as failure:
        run.conclude([Result(build(step).steps[0], "FAILURE", 1)])

    assert f"./inv pipeline --from {spelled} …" in failure.value.next_step


def test_only_failures_that_are_not_allowed_fail_the_build() -> None:
    (step,) = build({"id": "test"}).steps
    others = [Result(step, "CANCELLED"), Result(step, "SKIPPED")]

    run.conclude([Result(step, "FAILURE", 1, allowed=True), *others])
    with pytest.raises(Failure):
        run.conclude([Result(step, "FAILURE", 1), *others])


@pytest.mark.parametrize(
    ("result", "cells"),
    [
        ({"state": "SUCCESS", "seconds": 75.0}, [Styled("SUCCESS", "green"), "1 min 15 s"]),
        ({"state": "FAILURE", "code": 3}, [Styled("FAILURE (exit code 3)", "red"), ""]),
        ({"state": "FAILURE", "code": 3, "allowed": True}, [Styled("FAILURE (exit code 3), allowed", "yellow"), ""]),
        ({"state": "NOT RUN"}, [Styled("NOT RUN", "dim"), ""]),
    ],
)  # fmt: skip
def test_a_row_tells_how_a_step_ended(result: dict[str, Any], cells: list[str]) -> None:
    (step,) = build({"id": "[test]"}).steps

    assert run.row(Result(step, **result)) == ['#0 - "[test]"', *cells]


def test_steps_that_need_a_container_are_all_named() -> None:
    steps = build(
        {"name": OWN, "id": "task"},
        {"name": "bash", "id": "other"},
        {"name": OWN, "id": "script", "script": "echo"},
        {"name": OWN, "id": "entry", "entrypoint": "sh"},
        {"name": OWN, "id": "cached", "volumes": [CACHE]},
        {"name": OWN, "id": "away", "dir": "/elsewhere", "volumes": []},
        {"name": OWN, "id": "above", "dir": "sub/../../elsewhere"},
        {"name": "bash", "id": "not chosen", "volumes": [CACHE]},
    ).steps

    with pytest.raises(UsageError) as refused:
        local.check(steps[:-1], f"{OWN}:stable")

    assert refused.value.why.splitlines() == [
        '- step #1 - "other" runs bash',
        f'- step #2 - "script" runs {OWN} with a script',
        f'- step #3 - "entry" runs {OWN} with the entrypoint sh',
        f'- step #4 - "cached" runs {OWN} with volumes',
        f'- step #5 - "away" runs {OWN} in the folder /elsewhere',
        f'- step #6 - "above" runs {OWN} in the folder /workspace/sub/../../elsewhere',
    ]
    local.check(steps[:1], f"{OWN}:stable")


def test_a_step_without_container_runs_in_its_folder(tmp_path: Path) -> None:
    (step,) = build(
        {"name": OWN, "args": ["push", "--record=/workspace/image.json", "gs://x/workspace"], "dir": "sub",
         "env": ["HERE=/workspace", "OTHER=/workspaces/x"]}
    ).steps  # fmt: skip

    launch = local.Local(Path("/root"), tmp_path, {}, {"LOOKIT_SANDBOX": "1"}, Path("/my.yaml")).launch(step)

    assert list(launch.argv)[1:] == [
        "-P", "-m", "tasks", "--search-root", "/root", "-f", "/my.yaml", "push",
        f"--record={tmp_path}/image.json", "gs://x/workspace",
    ]  # fmt: skip
    assert launch.cwd == tmp_path / "sub"
    assert launch.cwd.is_dir()
    assert launch.env["PYTHONPATH"].split(":")[0] == "/root"
    assert (launch.env["HERE"], launch.env["OTHER"]) == (str(tmp_path), "/workspaces/x")
    assert launch.env["LOOKIT_SANDBOX"] == "1"


def test_a_secret_of_any_bytes_reaches_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "KEY", os.fsdecode(b"\xff\xfe"))
    declared = {"secretManager": [{"versionName": "projects/p/secrets/s/versions/1", "env": "KEY"}]}
    file = {"steps": [{"name": OWN, "secretEnv": ["KEY"]}], "availableSecrets": declared}
    made = ready(parse(file, "f"), {}, "f")

    values = secrets.values(SETTINGS, made.secrets, ["KEY"])
    local_launch = local.Local(tmp_path, tmp_path, values, {}).launch(made.steps[0])
    container = containers.Containers(run="run", network="host", secrets=values, seconds=60, own_image=OWN)
    in_container = container.launch(made.steps[0])

    assert values == {"KEY": Secret(b"\xff\xfe")}
    for launch in (local_launch, in_container):
        assert os.fsencode(launch.env["KEY"]) == b"\xff\xfe"


@pytest.mark.parametrize(
    ("task", "code", "state"), [("--version", 0, "SUCCESS"), ("no-such-task", 1, "FAILURE")]
)
def test_json_tells_how_each_step_ended_also_on_failure(
    here: Here, checkout: Sample, tmp_path: Path, task: str, code: int, state: str
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(f"steps: [{{id: a, name: {OWN}, args: [{task}]}}]\n")

    ended = here.inv(
        "pipeline",
        "--branch",
        "develop",
        "--source",
        str(checkout.folder),
        "--file",
        str(file),
        "--no-docker",
        "--json",
    )

    assert ended.code == code
    assert [(step["step"], step["state"]) for step in json.loads(ended.stdout)] == [("a", state)]


def test_one_step_alone_runs_without_the_others(here: Here, checkout: Sample, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    steps = "".join(f"- {{id: {name}, name: {OWN}, args: [{task}]}}\n" for name, task in NAMED_TASKS.items())
    file.write_text(f"steps:\n{steps}")

    ended = here.inv(
        "pipeline", "--branch", "develop", "--source", str(checkout.folder), "--file", str(file), "--no-docker",
        "--json", "--only", "b",
    )  # fmt: skip

    assert ended.code == 0, ended.stderr
    states = {step["step"]: step["state"] for step in json.loads(ended.stdout)}
    assert states == {"a": "SKIPPED", "b": "SUCCESS", "c": "SKIPPED"}


@pytest.mark.parametrize("value", ["canary-one", "canary-one\n", "canary-one\n  canary-two\r\n"])
def test_secrets_in_step_output_are_redacted(capsys: pytest.CaptureFixture[str], value: str) -> None:
    launch = Launch(["printf", "%s\nnext\n", f"says {value}"])

    run.run_graph(build({}), build({}).steps, lambda _: launch, {"KEY": Secret(value.encode())})

    told = capsys.readouterr().err
    assert "says [redacted]" in told
    assert "next" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    "form",
    [json.dumps, lambda value: base64.b64encode(value.encode()).decode()],
    ids=["in JSON", "in base64"],
)
@pytest.mark.parametrize("value", ['the "canary"', "short1", "line one\nend 02"])
def test_a_secret_is_redacted_in_the_forms_that_programs_print(
    capsys: pytest.CaptureFixture[str], value: str, form: Callable[[str], str]
) -> None:
    lines = [form(text) for text in (value, *value.splitlines())]
    launch = Launch(["printf", "%s\n", *lines])

    run.run_graph(build({}), build({}).steps, lambda _: launch, {"KEY": Secret(value.encode())})

    told = capsys.readouterr().err
    assert told.count("[redacted]") == len(lines)
    assert not any(line.strip('"') in told for line in lines)


def test_scripts_become_programs_that_anyone_may_run(tmp_path: Path) -> None:
    steps = build(
        {"script": "echo one"}, {"args": ["x"]}, {"script": "#!/usr/bin/env python3\nprint()"}
    ).steps

    containers.write_scripts(tmp_path, steps)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "0": "#!/bin/sh\necho one", "2": "#!/usr/bin/env python3\nprint()"
    }  # fmt: skip
    assert stat.filemode((tmp_path / "0").stat().st_mode).count("x") == 3


def test_without_containers_secrets_reach_only_their_steps(tmp_path: Path) -> None:
    """Also one that was given by hand, in this process's variables, which programs inherit."""
    made = ready(
        parse(
            {
                "steps": [{"name": OWN, "secretEnv": ["A"]}, {"name": OWN}],
                "availableSecrets": {"secretManager": [{"versionName": "v", "env": "A"}]},
            },
            "f",
        ),
        {},
        "f",
    )
    launch = local.Local(tmp_path, tmp_path, {"A": Secret(b"x")}, {}, declared=made.secrets).launch

    assert [launch(step).without for step in made.steps] == [set(), {"A"}]
    assert [launch(step).env.get("A") for step in made.steps] == ["x", None]


def test_only_images_that_are_not_available_locally_are_pulled(engine: DockerProgram) -> None:
    engine.answers(Says("image inspect *far*", err="No such image", code=1))
    at_once = {"waitFor": ["-"]}
    steps = build({"name": "near"}, {"name": "far", **at_once}, {"name": "far"}, {"name": "elsewhere"}).steps

    containers.fetch_images(steps[:3], 60, 60)

    assert [line.split()[-1] for line in engine.asked] == ["near", "far", "far"]
    assert engine.asked[-1] == "pull --quiet far"


def test_an_image_that_cannot_be_pulled_is_named(engine: DockerProgram) -> None:
    engine.answers(Says("image inspect *", code=1), Says("pull *", err="manifest unknown", code=1))

    with pytest.raises(Failure) as failure:
        containers.fetch_images(build({"name": "far"}).steps, 60, 60)

    assert failure.value.what == "The image far is not available locally and could not be pulled."
    assert failure.value.why == "manifest unknown"


def test_an_image_of_an_earlier_step_is_not_pulled_first(
    engine: DockerProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers(Says("image inspect *far*", code=1), Says("pull *", err="manifest unknown", code=1))
    steps = build({"name": "docker", "args": ["build", "--tag=far", "."]}, {"name": "far"}).steps

    containers.fetch_images(steps, 60, 60)

    assert "far is not available yet: an earlier step may build it." in capsys.readouterr().err
    with pytest.raises(Failure, match="The image far is not available locally and could not be pulled"):
        containers.fetch_images(steps[1:], 60, 60)


def test_only_this_repository_s_images_are_built_each_once(engine: DockerProgram) -> None:
    containers.build_own_images(SETTINGS, [f"{OWN}:stable", "bash", f"{OWN}:stable", f"{OWN}:stable-docker"])

    built = [line for line in engine.asked if line.startswith("buildx build")]
    assert [(line.split("--target ")[1].split()[0], line.split("--tag ")[1].split()[0]) for line in built] == [
        ("orchestrator", f"{OWN}:stable"), ("docker", f"{OWN}:stable-docker"),
    ]  # fmt: skip


def test_an_own_image_named_by_digest_is_not_built(engine: DockerProgram) -> None:
    """Nothing that is built here has it, and Docker makes no tag with a digest."""
    containers.build_own_images(SETTINGS, [f"{OWN}:1@sha256:{'a' * 64}"])

    assert not engine.asked


def test_no_docker_is_suggested_if_the_image_fails_to_build(engine: DockerProgram) -> None:
    engine.answers(Says("buildx build *", code=2))

    with pytest.raises(Failure) as failure:
        containers.build_own_images(SETTINGS, [f"{OWN}:stable"])

    assert failure.value.what == f"The image could not be built: {OWN}:stable from this checkout."
    assert failure.value.why == "`docker buildx build …` exited with 2; its output is above."
    assert failure.value.next_step == "Fix it, or run the steps without containers: --no-docker."


def test_images_of_the_build_file_are_pushed_last(
    engine: DockerProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    run.push_images(SETTINGS, ["r.example/b:1", "r.example/c:1"])

    assert [line for line in engine.asked if line.startswith("push")] == [
        "push --quiet r.example/b:1", "push --quiet r.example/c:1",
    ]  # fmt: skip
    assert capsys.readouterr().err == "Pushing r.example/b:1 …\nPushing r.example/c:1 …\n"


def test_an_image_that_no_step_built_fails_the_build(engine: DockerProgram) -> None:
    engine.answers(Says("image inspect *", err="No such image", code=1))

    with pytest.raises(Failure, match=r"This machine has no image r\.example/b:1"):
        run.push_images(SETTINGS, ["r.example/b:1"])


def test_in_the_sandbox_only_images_for_this_machine_are_pushed(
    engine: DockerProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = checked_in_settings(registry={"elsewhere": False})

    run.push_images(closed, ["gcr.io/a/b:1", "127.0.0.1:5000/c:1"])

    assert [line for line in engine.asked if line.startswith("push")] == ["push --quiet 127.0.0.1:5000/c:1"]
    told = "Not pushed, because with --sandbox nothing leaves this machine: gcr.io/a/b:1."
    assert told in capsys.readouterr().err


def test_substitutions_are_those_that_a_trigger_would_give(checkout: Sample) -> None:
    request = run.Request(
        file=Path("cloudbuild.yaml"), source=checkout.folder, environment=SETTINGS.environment("staging"),
        variables=variables(SETTINGS, checkout.folder, branch="develop"), substitutions={"_MINE": "1"},
        in_containers=False,
    )  # fmt: skip

    given = run.substitutions(SETTINGS, request)

    account = "lookit-deploy-staging@mit-lookit.iam.gserviceaccount.com"
    assert len(given.pop("BUILD_ID")) == 36
    assert given == {
        "PROJECT_ID": "mit-lookit", "LOCATION": "global", "TRIGGER_NAME": "lookit-staging",
        "TRIGGER_BUILD_CONFIG_PATH": "", "SERVICE_ACCOUNT_EMAIL": account,
        "SERVICE_ACCOUNT": f"projects/mit-lookit/serviceAccounts/{account}", "COMMIT_SHA": checkout.head,
        "REVISION_ID": checkout.head, "SHORT_SHA": checkout.head[:7], "REPO_NAME": "lookit-api",
        "REPO_FULL_NAME": "lookit/lookit-api", "BRANCH_NAME": "develop", "TAG_NAME": "", "REF_NAME": "develop",
        "_ENVIRONMENT": "staging", "_MINE": "1",
    }  # fmt: skip
