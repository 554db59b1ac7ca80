"""Build variables: whose word counts, and what is refused."""

import os
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from tasks.lib import build_variables
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.settings.model import Settings
from tests.builders import checked_in_settings

SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.fixture
def settings() -> Settings:
    return checked_in_settings()


def test_variables_of_cloud_build_are_used(settings: Settings) -> None:
    environ = {
        "COMMIT_SHA": SHA,
        "BRANCH_NAME": "develop",
        "TAG_NAME": "v2",
        "REPO_NAME": "api",
        "BUILD_ID": "77",
    }

    variables = build_variables.read(settings, settings.environment("staging"), environ=environ)

    assert variables.as_environment() == {
        "BUILD_ID": "77", "COMMIT_SHA": SHA, "SHORT_SHA": "0123456", "REPO_NAME": "api",
        "BRANCH_NAME": "develop", "TAG_NAME": "v2",
    }  # fmt: skip


def test_options_win_over_variables_and_defaults(settings: Settings) -> None:
    variables = build_variables.read(
        settings, settings.environment("production"), commit=OTHER, tag="v3", environ={"COMMIT_SHA": SHA}
    )

    assert (variables.commit_sha, variables.short_sha, variables.tag_name) == (OTHER, "f" * 7, "v3")
    assert (variables.branch_name, variables.repo_name, variables.build_id) == (
        "master",
        "lookit-api",
        "local",
    )
    blank = build_variables.read(
        settings, settings.environment("staging"), environ={"COMMIT_SHA": SHA, "TAG_NAME": ""}
    )
    assert blank.tag_name == "latest"


def test_all_problems_are_listed(settings: Settings) -> None:
    environ = {"COMMIT_SHA": "abc123", "TAG_NAME": "feature/x", "BUILD_ID": 'a"b'}
    with pytest.raises(UsageError) as caught:
        build_variables.read(settings, settings.environment("staging"), environ=environ)

    assert caught.value.why.splitlines() == [
        """- BUILD_ID is 'a"b', but should be letters, digits and ./:@+-_ only.""",
        "- COMMIT_SHA is 'abc123', but should be the full commit SHA, 40 hexadecimal digits in lower case.",
        "- TAG_NAME is 'feature/x', but should be at most 63 letters, digits and ._- (it becomes a label).",
    ]


def test_commands() -> None:
    assert build_variables.head_argv("https://example.org/x.git", "develop") == (
        "git", "ls-remote", "--heads", "https://example.org/x.git", "refs/heads/develop",
    )  # fmt: skip
    assert build_variables.checkout_argv(Path("/src")) == (
        "git", "-c", "safe.directory=/src", "-C", "/src", "rev-parse", "HEAD",
    )  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/lookit/lookit-api",
        "https://example.org/lookit/lookit-api.git/",
        "git@example.org:lookit/lookit-api.git",
        "ssh://git@example.org:2222/lookit/lookit-api",
        "/srv/git/lookit/lookit-api.git",
        "example.org:lookit/lookit-api",
    ],
)
def test_every_form_of_a_repository_url_has_a_name(url: str) -> None:
    assert build_variables.repository_name(url) == "lookit-api"
    assert build_variables.repository_full_name(url) == "lookit/lookit-api"


def test_a_repository_directly_after_the_colon_has_a_name() -> None:
    assert build_variables.repository_name("git@example.org:lookit-api.git") == "lookit-api"


def test_git_finds_the_commit_of_a_checkout_or_branch(settings: Settings, tmp_path: Path) -> None:
    head = _repository(tmp_path)
    staging = settings.environment("staging")

    checkout = replace(settings, source=replace(settings.source, checkout=str(tmp_path)))
    assert build_variables.read(checkout, staging, environ={}).commit_sha == head

    remote = replace(settings, source=replace(settings.source, repository=str(tmp_path)))
    assert build_variables.read(remote, staging, environ={}).commit_sha == head


def test_a_missing_branch_is_an_error(settings: Settings, tmp_path: Path) -> None:
    _repository(tmp_path)
    remote = replace(settings, source=replace(settings.source, repository=str(tmp_path)))

    with pytest.raises(Failure, match=f"{tmp_path} has no branch master") as caught:
        build_variables.read(remote, settings.environment("production"), environ={})
    assert "--commit" in caught.value.next_step


def test_a_git_that_hangs_times_out(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(build_variables, "GIT_SECONDS", 0.1)

    with pytest.raises(TimedOut, match="git failed"):
        build_variables.read(settings, settings.environment("staging"), environ={})


def test_a_git_that_fails_names_the_option_for_the_commit(settings: Settings, tmp_path: Path) -> None:
    remote = replace(settings, source=replace(settings.source, repository=str(tmp_path / "absent")))

    with pytest.raises(Failure, match="git failed") as caught:
        build_variables.read(remote, settings.environment("staging"), environ={})
    assert "does not exist" in caught.value.why or "not appear to be a git repository" in caught.value.why
    assert (
        caught.value.next_step
        == "Name it with --commit (the full SHA), or set COMMIT_SHA as Cloud Build does."
    )


def _repository(folder: Path) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    for argv in (
        ["init", "-q", "-b", "develop"],
        [*identity, "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(folder), *argv], check=True)
    head = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    return head.stdout.strip()
