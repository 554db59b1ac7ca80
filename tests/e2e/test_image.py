"""Build, test and push the sample application with a real engine, PostgreSQL and registry."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.images import from_docker
from tasks.lib.image import registry
from tasks.lib.image.checkout import committed
from tasks.lib.image.checkout import variables as read_variables
from tasks.lib.image.reference import parse
from tests.builders import checked_in_settings
from tests.docker_services import RegistryProcess, ended, made_by, output, still_there
from tests.docker_services import registry as serve
from tests.heard import until
from tests.lib.image.memory_registry import resolve_digest
from tests.program import Ended
from tests.sample_checkout import ROOT, Sample, invoke, sample_apart

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600, func_only=True)]

TAKEN_AWAY = (
    "from django.test import TestCase\nclass T(TestCase):\n    def test_it(self): self.fail('as it should')\n"
)


@pytest.fixture
def checkout(docker_engine: None, tmp_path: Path) -> Sample:
    return sample_apart(tmp_path / "lookit-api")


@pytest.fixture
def env(registry_process: RegistryProcess, checkout: Sample) -> dict[str, str]:
    return {
        "INVOKE_IMAGE_REPOSITORY": f"{registry_process.address}/{checkout.image}",
        "INVOKE_TEST_DATABASE_IMAGE": "lookit-test/postgres:local",
    }


def test_an_image_says_what_it_was_built_from(checkout: Sample, env: dict[str, str]) -> None:
    done = invoke("build", "--source", str(checkout.folder), "--tag", "v1", **env)

    assert done.returncode == 0, done.stderr
    repository = env["INVOKE_IMAGE_REPOSITORY"]
    assert done.stdout.splitlines() == [f"{repository}:{checkout.head}", f"{repository}:v1"]
    config = json.loads(output("docker", "image", "inspect", f"{repository}:v1"))[0]["Config"]
    assert config["Labels"] == {
        "org.opencontainers.image.source": "https://github.com/lookit/lookit-api",
        "org.opencontainers.image.revision": checkout.head,
        "org.opencontainers.image.version": checkout.head,
        "org.opencontainers.image.created": "2024-05-06T07:08:09Z",
        "org.lookit.built-from": "commit",
    }
    assert f"VERSION={checkout.head}" in config["Env"]
    assert "v1" not in " ".join(config["Env"])


def test_dockers_image_of_a_checkout_is_taken_out_for_a_real_node(checkout: Sample, tmp_path: Path) -> None:
    settings, commit = checked_in_settings(image={"repository": "lookit-test/taken-out"}), checkout.head
    variables = read_variables(settings, checkout.folder)

    with committed(checkout.folder, commit) as tree:
        assert from_docker.obstacle(settings, tree) == ""
        image = from_docker.obtain(settings, tree, variables, "r:1", tmp_path / "layers")

    assert image.names == ("r:1",)
    assert f"GIT_COMMIT={commit}" in image.config["Env"]
    inspected = json.loads(output("docker", "image", "inspect", f"lookit-test/taken-out:{commit}"))[0]
    assert [one.digest for one in image.layers] == inspected["RootFS"]["Layers"]
    for layer in image.layers:
        assert hashlib.file_digest(layer.path.open("rb"), "sha256").hexdigest() == layer.path.stem


def test_a_commit_that_the_checkout_lacks_is_not_built(checkout: Sample, env: dict[str, str]) -> None:
    done = invoke("build", "--source", str(checkout.folder), "--commit", "a" * 40, **env)

    assert done.returncode == 2
    assert f"{checkout.folder} has no commit {'a' * 40}." in done.stderr


def test_a_failing_build_ends_with_the_builder_s_words(checkout: Sample, env: dict[str, str]) -> None:
    checkout.commit(Dockerfile="FROM lookit-test/base:local\nRUN echo the reason >&2; exit 3\n")

    done = invoke("build", "--source", str(checkout.folder), **env)

    assert done.returncode == 1
    assert "the reason" in done.stderr
    assert "The image could not be built" in done.stderr


def test_the_suite_runs_against_postgresql_and_leaves_nothing(checkout: Sample, env: dict[str, str]) -> None:
    done = invoke("test", "--source", str(checkout.folder), **env)

    assert done.returncode == 0, done.stderr
    assert "Ran 3 tests" in done.stderr
    assert "The database accepts connections after" in done.stderr
    assert made_by(os.getpid()) == set()


def test_a_failing_suite_gives_its_own_exit_code(checkout: Sample, env: dict[str, str]) -> None:
    checkout.commit(studies__tests_DOT_py=TAKEN_AWAY)

    failing = invoke("test", "--source", str(checkout.folder), **env)
    other = invoke("test", "--source", str(checkout.folder), "--command", "sh -c 'exit 42'", **env)

    assert failing.returncode == 1
    assert "as it should" in failing.stderr
    assert (
        "The application's tests failed: `python manage.py test --noinput` exited with 1." in failing.stderr
    )
    assert other.returncode == 42
    assert made_by(os.getpid()) == set()


def test_a_database_that_ends_is_said_at_once(checkout: Sample, env: dict[str, str]) -> None:
    done = invoke(
        "test", "--source", str(checkout.folder), **env, INVOKE_TEST_DATABASE_ENVIRONMENT_POSTGRES_PASSWORD=""
    )

    assert done.returncode == 1
    assert "The test database ended before it was ready." in done.stderr
    assert "POSTGRES_PASSWORD is not set" in done.stderr
    assert made_by(os.getpid()) == set()


@contextmanager
def begun(checkout: Sample, env: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A run of a suite that has begun, and takes five minutes."""
    running = subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", str(ROOT), "test", "--source", str(checkout.folder),
         "--command", "sh -c 'echo begun; sleep 300'"],
        env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with ended(running):
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_in_the_middle_leaves_nothing(
    checkout: Sample, env: dict[str, str], number: signal.Signals
) -> None:
    with begun(checkout, env) as running:
        made = made_by(running.pid)
        running.send_signal(number)

        assert running.wait(240) == 128 + number
        assert {kind for kind, _ in made} == {"container", "network", "volume"}
        assert still_there(made) | made_by(running.pid) == set()


def test_leftovers_of_kill_9_are_removed_by_the_next_run(checkout: Sample, env: dict[str, str]) -> None:
    with begun(checkout, env) as running:
        made = made_by(running.pid)
        running.kill()
        running.wait()
        assert made

        assert invoke("test", "--source", str(checkout.folder), **env).returncode == 0

        until(lambda: still_there(made) == set())  # another test's run may be removing them just now


def push(checkout: Sample, env: dict[str, str], *options: str) -> Ended:
    return invoke(
        "push",
        "--source",
        str(checkout.folder),
        "--record",
        str(checkout.folder.parent / "image.json"),
        *options,
        **env,
    )


@pytest.fixture
def small(checkout: Sample) -> Sample:
    """The sample without the layers of its base, which take long to push."""
    checkout.commit(Dockerfile="FROM scratch\nCOPY . /code\n")
    return checkout


def built(checkout: Sample, env: dict[str, str], *options: str) -> None:
    done = invoke("build", "--source", str(checkout.folder), *options, **env)
    assert done.returncode == 0, done.stderr


def test_a_push_records_the_digest_and_is_repeatable(small: Sample, env: dict[str, str]) -> None:
    repository = env["INVOKE_IMAGE_REPOSITORY"]
    built(small, env, "--tag", "v1")

    first = push(small, env, "--tag", "v1")
    again = push(small, env, "--tag", "v1")

    assert first.returncode == 0, first.stderr
    digest = resolve_digest(checked_in_settings(), f"{repository}:{small.head}")
    assert first.stdout == again.stdout == f"{repository}@{digest}\n"
    assert json.loads((small.folder.parent / "image.json").read_text()) == {
        "image": repository, "digest": digest, "reference": f"{repository}@{digest}",
        "tags": [small.head, "v1", "develop"], "commit": small.head,
    }  # fmt: skip
    for tag in ("v1", "develop"):
        assert resolve_digest(checked_in_settings(), f"{repository}:{tag}") == digest
    assert "Nothing to push" in again.stderr
    assert f"Pushing {repository}:{small.head}" not in again.stderr


def test_a_release_tag_keeps_its_image_and_a_branch_moves(small: Sample, env: dict[str, str]) -> None:
    repository = env["INVOKE_IMAGE_REPOSITORY"]
    built(small, env, "--tag", "v1")
    first = push(small, env, "--tag", "v1").stdout.strip().partition("@")[2]
    small.commit(studies__static__studies__site_DOT_css="body {}")
    built(small, env, "--tag", "v1")

    refused = push(small, env, "--tag", "v1")
    moved = push(small, env)

    assert refused.returncode == 2
    assert f"Release tags never change, and these hold another image: {repository}:v1." in refused.stderr
    assert moved.returncode == 0, moved.stderr
    assert resolve_digest(checked_in_settings(), f"{repository}:v1") == first
    second = resolve_digest(checked_in_settings(), f"{repository}:develop")
    assert moved.stdout == f"{repository}@{second}\n"
    assert second != first


def test_a_release_tag_names_the_image_of_the_commit(small: Sample, env: dict[str, str]) -> None:
    built(small, env)
    first = push(small, env)

    released = push(small, env, "--tag", "v2")

    assert released.returncode == 0, released.stderr
    assert released.stdout == first.stdout
    repository, digest = first.stdout.strip().split("@")
    assert resolve_digest(checked_in_settings(), f"{repository}:v2") == digest


def test_another_build_of_the_same_commit_is_used_when_asked(small: Sample, env: dict[str, str]) -> None:
    repository = env["INVOKE_IMAGE_REPOSITORY"]
    built(small, env)
    first = push(small, env).stdout
    output("docker", "image", "rm", "--force", f"{repository}:{small.head}")
    (small.folder / "uncommitted").write_text("other content")
    built(small, env, "--worktree")

    refused = push(small, env)
    reused = push(small, env, "--reuse")

    assert refused.returncode == 2
    assert "./inv push --reuse" in refused.stderr
    assert reused.returncode == 0, reused.stderr
    assert reused.stdout == first


def test_a_registry_that_is_down_fails_with_what_to_check(
    small: Sample, env: dict[str, str], registry_process: RegistryProcess
) -> None:
    built(small, env)
    registry_process.stop()

    done = push(small, env)

    assert done.returncode == 1
    assert f"The registry at http://{registry_process.address} cannot be reached." in done.stderr
    assert not (small.folder.parent / "image.json").exists()


def test_a_push_that_the_registry_refuses_fails_without_further_attempts(
    docker_engine: None, small: Sample, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serve(tmp_path_factory.mktemp("read-only"), read_only=True) as closed:
        env = {**env, "INVOKE_IMAGE_REPOSITORY": f"{closed.address}/lookit"}
        built(small, env)

        done = push(small, env)

    assert done.returncode == 1
    assert "could not be pushed" in done.stderr
    assert "roles/artifactregistry.writer" in done.stderr
    assert "trying again" not in done.stderr


def test_a_registry_login_of_docker_is_used(
    docker_engine: None, small: Sample, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("with-login")
    # bcrypt of "open sesame"
    users = "ali:$2b$05$KhAmfqa9r/lpNJyZAK5Sk.eI1gL474XRyRAG3to1NDHQ8sHVDyvEG\n"
    with serve(folder, users=users) as closed:
        env = {
            **env,
            "INVOKE_IMAGE_REPOSITORY": f"{closed.address}/lookit",
            "DOCKER_CONFIG": str(folder / "docker"),
        }
        built(small, env)
        refused = push(small, env)
        subprocess.run(
            ("docker", "--config", str(folder / "docker"), "login", "-u", "ali", "--password-stdin", closed.address),
            input=b"open sesame", check=True, capture_output=True,
        )  # fmt: skip
        allowed = push(small, env)

    assert refused.returncode == 1
    assert "401" in refused.stderr
    assert allowed.returncode == 0, allowed.stderr


def test_an_image_is_copied_by_digest_to_another_repository(small: Sample, env: dict[str, str]) -> None:
    repository = parse(env["INVOKE_IMAGE_REPOSITORY"])
    built(small, env)
    digest = push(small, env).stdout.strip().partition("@")[2]
    connected = registry.connect(checked_in_settings(), repository.registry)
    target = parse(f"{repository.registry}/production/lookit:v9")

    assert connected.copy(repository.at(digest), target) == digest

    assert resolve_digest(checked_in_settings(), str(target)) == digest
    connected.delete(target.at(digest))
    assert connected.digest(target) == ""
