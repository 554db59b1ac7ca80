"""Checks of this machine, with real programs and with none."""

import os
from pathlib import Path

import pytest

from tasks.lib.doctor import machine
from tasks.lib.errors import Failure
from tasks.lib.render.kustomize import kubectl
from tests.builders import checked_in_settings


def _program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_pinned_kubectl_says_its_version() -> None:
    assert machine.kubectl_version(kubectl(checked_in_settings())).startswith("v1.")


def test_a_kubectl_that_is_not_there_is_mended_in_the_settings() -> None:
    with pytest.raises(Failure, match="/nowhere/kubectl is no program") as caught:
        machine.kubectl_version("/nowhere/kubectl")

    assert caught.value.next_step == "Leave kustomize.kubectl empty: one is installed already."


@pytest.mark.parametrize("says", ["hello", "{}", '{"clientVersion": {"gitVersion": "v1.18.0"}}', "[]"])
def test_a_program_that_is_no_kubectl_or_an_old_one_is_a_fault(tmp_path: Path, says: str) -> None:
    _program(tmp_path, "kubectl", f"echo '{says}'")

    with pytest.raises(Failure, match="is no kubectl, or one too old"):
        machine.kubectl_version(str(tmp_path / "kubectl"))


@pytest.mark.parametrize("says", ["", "exec printf '\\377\\n'"], ids=["nothing", "no text"])
def test_a_program_that_does_not_say_its_version_ends_no_examination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    _program(tmp_path, "git", says)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    if says:
        assert machine.version("git", "--version", mend="") == "\N{REPLACEMENT CHARACTER}"
        return
    with pytest.raises(Failure, match="`git --version` says nothing") as caught:
        machine.version("git", "--version", mend="apt-get install git")
    assert (caught.value.why, caught.value.next_step) == (f"It is {tmp_path}/git.", "apt-get install git")


def test_every_program_is_looked_at() -> None:
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
        machine.version("git", "--version", mend="apt-get install git")
    assert caught.value.next_step == "apt-get install git"
    with pytest.raises(Failure, match="docker is not on PATH"):
        machine.docker_version()


def test_a_docker_without_engine_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "docker", "echo Cannot connect to the Docker daemon >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(Failure, match="No Docker engine answers") as caught:
        machine.docker_version()
    assert caught.value.why == "Cannot connect to the Docker daemon"


def test_who_may_not_use_docker_is_told_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
    )
    _program(tmp_path, "docker", f"echo {said} >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(Failure, match="You may not use the Docker engine of this machine") as caught:
        machine.docker_version()
    assert "sudo usermod -aG docker $USER" in caught.value.next_step


def test_versions_are_the_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "docker", "echo 27.0 28.1")
    _program(tmp_path, "go", "echo go version go1.26; echo more")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert machine.docker_version() == "28.1"
    assert machine.version("go", "version", mend="") == "go version go1.26"
