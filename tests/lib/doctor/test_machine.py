"""Checks of this machine, with real programs and with none."""

import os
from pathlib import Path

import pytest

from tasks.lib import go
from tasks.lib.doctor import machine
from tasks.lib.errors import Failure
from tasks.lib.render.kustomize import kubectl
from tests.builders import checked_in_settings


def _program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_pinned_kubectl_has_a_version() -> None:
    assert machine.kubectl_version(kubectl(checked_in_settings())).startswith("v1.")


def test_a_missing_kubectl_names_the_setting_to_fix() -> None:
    with pytest.raises(Failure, match="/nowhere/kubectl is not a program") as caught:
        machine.kubectl_version("/nowhere/kubectl")

    assert caught.value.next_step == machine.BUILT_IN


@pytest.mark.parametrize("says", ["hello", "{}", '{"clientVersion": {"gitVersion": "v1.18.0"}}', "[]"])
def test_an_old_or_wrong_kubectl_is_a_problem(tmp_path: Path, says: str) -> None:
    _program(tmp_path, "kubectl", f"echo '{says}'")

    with pytest.raises(Failure, match="is not kubectl, or is too old"):
        machine.kubectl_version(str(tmp_path / "kubectl"))


def test_a_git_that_prints_nothing_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "git", "")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(Failure, match="`git --version` prints nothing") as caught:
        machine.git_version()
    assert (caught.value.why, caught.value.next_step) == (f"It is {tmp_path}/git.", "apt-get install git")


def test_a_version_that_is_not_utf_8_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "git", "exec printf '\\377\\n'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert machine.git_version() == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("script", "what", "why"),
    [
        ("", "Go is not on PATH.", "The sandbox needs it only where official binaries cannot be downloaded."),
        (
            "echo go version go1.19.8",
            "Go is too old.",
            "/go is go version go1.19.8; 1.21 or newer is needed.",
        ),
    ],
    ids=["missing", "too old"],
)
def test_a_go_that_cannot_be_used_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, what: str, why: str
) -> None:
    if script:
        _program(tmp_path, "go", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(go, "USUAL", tmp_path / "nowhere")

    with pytest.raises(Failure) as caught:
        machine.go_version()
    assert caught.value.what == what
    assert caught.value.why.endswith(why)
    assert "https://go.dev/dl" in caught.value.next_step


def test_go_is_found_where_its_own_archive_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "go", "echo go version go1.26")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(go, "USUAL", tmp_path / "go")

    assert machine.go_version() == "go version go1.26"


def test_every_program_is_checked() -> None:
    subjects = [check.subject for check in machine.checks(checked_in_settings())]

    assert subjects == [
        "Python",
        "kubectl",
        "git",
        "Google credentials",
        "build images",
        "Docker engine",
        "Go, for the sandbox",
    ]


def test_a_missing_program_names_its_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Failure, match="git is not on PATH") as caught:
        machine.git_version()
    assert caught.value.next_step == "apt-get install git"
    with pytest.raises(Failure, match="docker is not on PATH"):
        machine.docker_version()


def test_docker_without_an_engine_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "docker", "echo Cannot connect to the Docker daemon >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(Failure, match="No Docker engine answers") as caught:
        machine.docker_version()
    assert caught.value.why == "Cannot connect to the Docker daemon"


def test_missing_permission_for_docker_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
    )
    _program(tmp_path, "docker", f"echo {said} >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(Failure, match="You may not use the Docker engine of this machine") as caught:
        machine.docker_version()
    assert "sudo usermod -aG docker $USER" in caught.value.next_step


def test_the_version_of_the_docker_engine_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "docker", "echo 27.0 28.1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert machine.docker_version() == "28.1"
