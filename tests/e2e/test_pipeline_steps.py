"""What a container gives a step, by Cloud Build's documentation: each step of a build looks for itself."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import ROOT
from tests.docker_services import CLIENT, docker_client_image, ended, made_by, output, still_there
from tests.heard import heard, until
from tests.program import Ended
from tests.sample_checkout import Sample, invoke, sample_apart

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600, func_only=True)]

BASE = "lookit-test/base:local"


@pytest.fixture
def source(docker_engine: None, tmp_path: Path) -> Sample:
    return sample_apart(tmp_path / "lookit-api")


def command(source: Sample, build: dict[str, Any]) -> list[str]:
    """`pipeline` of a build file with this content."""
    file = source.folder.parent / "build.yaml"
    file.write_text(yaml.safe_dump(build))
    return ["pipeline", "--branch", "develop", "--source", str(source.folder), "--file", str(file), "--json"]


def run(source: Sample, *steps: dict[str, Any], **build: Any) -> Ended:
    content = {"steps": [{"name": BASE, **step} for step in steps], **build}
    return invoke(*command(source, content), TOKEN="s3cret-value")


def shell(text: str, **step: Any) -> dict[str, Any]:
    """A step that runs `text` with bash; it fails at the first command that does."""
    return {"entrypoint": "bash", "args": ["-euc", text.replace("$", "$$")], **step}


def assert_green(done: Ended) -> None:
    assert done.returncode == 0, done.stderr
    assert {step["state"] for step in json.loads(done.stdout)} == {"SUCCESS"}
    assert made_by(os.getpid()) == set()


def test_steps_share_a_workspace_with_the_commit(source: Sample) -> None:
    assert_green(run(
        source,
        shell(f"[ $PWD = /workspace ]; grep -qx {source.head} .git/HEAD; test -e manage.py; echo one >made"),
        shell("[ $(cat made) = one ]"),
    ))  # fmt: skip


def test_a_step_folder_is_in_the_workspace_or_the_container(source: Sample) -> None:
    assert_green(run(
        source,
        shell("[ $PWD = /workspace/project ]; test -e settings.py", dir="project"),
        shell("[ $PWD = /elsewhere ]; touch mine", dir="/elsewhere"),
        shell("[ -z \"$(ls)\" ]", dir="/elsewhere"),
    ))  # fmt: skip


def test_a_script_is_run_by_sh_or_its_first_line(source: Sample) -> None:
    assert_green(run(
        source,
        {"script": "set -eu\n[ -z \"${BASH_VERSION:-}\" ]\necho \"$_NAME\" >made"},
        {"script": "#!/usr/bin/env bash\n[ -n \"$BASH_VERSION\" ] && [ \"$(cat made)\" = value ]"},
        {"script": "#!/usr/bin/env python3\nassert open('made').read() == 'value\\n'"},
        substitutions={"_NAME": "value"}, options={"automapSubstitutions": True},
    ))  # fmt: skip


def test_an_entrypoint_replaces_that_of_the_image(
    source: Sample,
) -> None:
    assert_green(run(
        source,
        {"entrypoint": "python3", "args": ["-c", "import sys; assert sys.argv[1:] == ['$_NAME', '$$_NAME']",
                                           "$_NAME", "$$_NAME"]},
        {"args": ["test", "-e", "manage.py"]},
        substitutions={"_NAME": "value"},
    ))  # fmt: skip


def test_substitutions_are_variables_only_if_mapped(
    source: Sample,
) -> None:
    assert_green(run(
        source,
        shell("[ $A$B = stepbuild ]; [ -z \"${_NAME:-}\" ]", env=["A=step"]),
        shell("[ $_NAME$COMMIT_SHA = value" + source.head + " ]", automapSubstitutions=True),
        substitutions={"_NAME": "value"}, options={"env": ["A=build", "B=build"]},
    ))  # fmt: skip


def test_a_volume_is_kept_between_its_steps_only(source: Sample) -> None:
    assert_green(run(
        source,
        shell("touch /here/kept; [ $HOME = /builder/home ]; touch ~/kept", volumes=[{"name": "vol", "path": "/here"}]),
        shell("test -e /there/kept; test -e ~/kept", volumes=[{"name": "vol", "path": "/there"}]),
        shell("! test -e /here; ! test -e /there"),
    ))  # fmt: skip


def test_steps_that_wait_for_nothing_run_side_by_side(source: Sample) -> None:
    """Each of the two waits for a file that the other makes."""
    meet = "touch {0}; until [ -e {1} ]; do sleep 0.05; done"
    assert_green(run(
        source, shell(meet.format("a", "b"), waitFor=["-"]), shell(meet.format("b", "a"), waitFor=["-"]),
    ))  # fmt: skip


def test_a_step_reaches_the_engine_that_it_runs_in(source: Sample) -> None:
    assert_green(run(source, shell("test -S /var/run/docker.sock")))


def test_a_secret_reaches_only_its_step_and_no_log(source: Sample) -> None:
    held = {"secretManager": [{"versionName": "projects/p/secrets/s/versions/1", "env": "TOKEN"}]}

    done = run(
        source,
        shell("[ ${#TOKEN} = 12 ]; echo it is $TOKEN.", secretEnv=["TOKEN"]),
        shell("[ -z \"${TOKEN:-}\" ]"),
        availableSecrets=held,
    )  # fmt: skip

    assert_green(done)
    assert "it is [redacted]." in done.stderr
    assert "s3cret-value" not in done.stderr + done.stdout


def test_a_failure_stops_the_build_unless_allowed(source: Sample) -> None:
    done = run(
        source,
        shell("exit 7", id="allowed", allowExitCodes=[7]),
        shell("exit 8", id="named", allowFailure=True, allowExitCodes=[7]),
        shell("true", id="last"),
    )

    assert done.returncode == 1
    assert 'The pipeline stopped at step #1 - "named": it exited with 8.' in done.stderr
    assert "FAILURE (exit code 7), allowed" in done.stderr
    assert "NOT RUN" in done.stderr
    assert made_by(os.getpid()) == set()


def test_a_step_s_limit_ends_its_container(source: Sample) -> None:
    done = run(source, shell("sleep 300", id="slow", timeout="2s"))

    assert done.returncode == 70
    assert 'The pipeline stopped at step #0 - "slow": it took longer than 2 s.' in done.stderr
    assert made_by(os.getpid()) == set()


def test_the_build_s_limit_ends_every_container(source: Sample) -> None:
    steps = [shell("sleep 300", waitFor=["-"]), shell("sleep 300", waitFor=["-"])]

    done = run(source, *steps, timeout="3s")

    assert done.returncode == 70
    assert "The build took longer than its timeout of 3 s" in done.stderr
    assert made_by(os.getpid()) == set()


@contextmanager
def begun(source: Sample) -> Iterator["subprocess.Popen[str]"]:
    """A pipeline whose step runs, by its own word and by the engine's, and takes five minutes."""
    # What the program says of the step before it runs does not hold the word.
    build = {"steps": [{"name": BASE, **shell('echo be""gun; sleep 300')}]}
    argv = [sys.executable, "-m", "tasks", *command(source, build)]
    running = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    with ended(running), heard(running) as told:
        told.moment_of("begun")
        until(lambda: steps_of(running.pid))
        yield running


def steps_of(pid: int) -> list[str]:
    """The containers of a pipeline, by its process, that run."""
    return [name for kind, name in made_by(pid) if kind == "container" and is_running(name)]


def is_running(container: str) -> bool:
    return output("docker", "inspect", "--format", "{{.State.Running}}", container) == "true\n"


def test_leftovers_of_a_killed_run_are_removed_by_the_next(source: Sample) -> None:
    with begun(source) as running:
        running.kill()
        running.wait()
        made = made_by(running.pid)
        (step,) = steps_of(running.pid)

        told = run(source, {"args": ["true"]})
        kept = still_there(made)
        output("docker", "stop", "--time", "0", step)
        last = run(source, {"args": ["true"]})

        assert_green(told)
        assert f"A pipeline was killed, and steps of it are still running: {step}." in told.stderr
        assert kept == made
        assert_green(last)
        until(lambda: still_there(made) == set())  # another test's run may be removing them just now


def test_an_interrupt_ends_every_container_and_removes_what_was_made(source: Sample) -> None:
    with begun(source) as running:
        made = made_by(running.pid)
        running.terminate()

        assert running.wait(240) == 143
        assert still_there(made) == set()
        assert made_by(running.pid) == set()


def test_listed_images_are_pushed_after_all_steps(source: Sample) -> None:
    """`docker` is not in this image, so nothing makes the image that the file promises."""
    done = run(source, shell("true"), images=["lookit-test/never-made:1"])

    assert done.returncode == 1
    assert "This machine has no image docker.io/lookit-test/never-made:1." in done.stderr


def test_unsupported_steps_are_reported_before_anything_runs(source: Sample) -> None:
    done = run(source, {"args": ["echo", "${_NAME^^}"]}, substitutions={"_NAME": "value"})

    assert_green(done)
    warning = "Warning: build.yaml: ${_NAME^^} is left as it is, for a shell: only ${_NAME} is replaced."
    assert done.stderr.index(warning) < done.stderr.index("Step #0: ${_NAME^^}")


def test_an_unavailable_image_is_named_before_anything_runs(source: Sample) -> None:
    done = run(source, shell("echo begun", waitFor=["-"]), {"name": "127.0.0.1:1/none:1", "waitFor": ["-"]})

    assert done.returncode == 1
    assert "The image 127.0.0.1:1/none:1 is not available locally and could not be pulled." in done.stderr
    assert "begun" not in done.stderr
    assert made_by(os.getpid()) == set()


@pytest.fixture
def with_docker(source: Sample) -> str:
    """An image for steps that call Docker."""
    docker_client_image()
    client = source.folder.parent / "client"
    client.mkdir()
    (client / "Dockerfile").write_text(
        f"FROM {BASE}\nCOPY --from={CLIENT}:local /usr/local/bin/docker /bin/\n"
    )
    output("docker", "build", "--quiet", "--tag", "lookit-test/with-docker:local", str(client))
    return "lookit-test/with-docker:local"


def test_containers_of_a_step_share_its_workspace_and_network(source: Sample, with_docker: str) -> None:
    inner = f"docker run --rm --volumes-from $(hostname) --network container:$(hostname) {BASE}"

    assert_green(run(
        source,
        shell(f"[ $({inner} readlink /proc/self/ns/net) = $(readlink /proc/self/ns/net) ];"
              f"{inner} sh -c 'test -e /workspace/manage.py && touch /workspace/made'", name=with_docker),
        shell("test -e made"),
    ))  # fmt: skip


def test_an_image_built_by_a_step_is_available_later(source: Sample, with_docker: str) -> None:
    image = f"127.0.0.1:1/lookit-test/{uuid.uuid4().hex}:1"
    (source.folder / "Dockerfile").write_text(f"FROM {BASE}\nRUN touch /made-here\n")
    source.commit()

    done = run(
        source,
        {"name": with_docker, "args": ["docker", "build", "--tag", image, "."]},
        {"name": image, "args": ["test", "-e", "/made-here"]},
    )

    output("docker", "image", "rm", "--force", image)
    assert_green(done)
