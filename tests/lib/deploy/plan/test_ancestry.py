"""Which of two commits is older, by repositories of this test's own."""

import subprocess
from pathlib import Path

import pytest

from tasks.lib.deploy.plan import commit_order as ancestry
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings

NOBODY = {
    f"GIT_{who}_{what}": text
    for who in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "x"), ("EMAIL", "x@example.org"))
}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, env=NOBODY,
    )  # fmt: skip
    return done.stdout.strip()


def commit(folder: Path, name: str) -> str:
    git(folder, "commit", "--quiet", "--allow-empty", "--message", name)
    return git(folder, "rev-parse", "HEAD")


def repository_in(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=develop")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return repository_in(tmp_path / "origin")


@pytest.mark.parametrize("source", ["checkout", "repository"])
def test_a_commit_is_older_than_its_descendants(repository: Path, source: str) -> None:
    first, second = commit(repository, "first"), commit(repository, "second")
    git(repository, "checkout", "--quiet", "-b", "aside", first)
    aside = commit(repository, "aside")
    settings = checked_in_settings(source={source: str(repository)})

    assert ancestry.is_ancestor(settings, first, second)
    assert not ancestry.is_ancestor(settings, second, first)
    assert not ancestry.is_ancestor(settings, aside, second)


def test_what_git_does_not_know_is_not_told(repository: Path, tmp_path: Path) -> None:
    known, unknown = commit(repository, "first"), "a" * 40
    for source in ({"checkout": str(repository)}, {"repository": str(tmp_path / "missing")}):
        for pair in ((known, unknown), (unknown, known)):
            with pytest.raises(Failure):
                ancestry.is_ancestor(checked_in_settings(source=source), *pair)


def test_a_shallow_checkout_counts_only_with_all_commits_between(repository: Path, tmp_path: Path) -> None:
    first, second, third = (commit(repository, name) for name in ("first", "second", "third"))
    git(repository, "tag", "old", first)
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{repository}", str(shallow))
    git(shallow, "fetch", "--quiet", "--depth=1", "origin", "tag", "old")
    settings = checked_in_settings(source={"checkout": str(shallow)})

    assert ancestry.is_ancestor(settings, second, third)
    with pytest.raises(Failure, match="shallow"):
        ancestry.is_ancestor(settings, first, third)


def test_commands() -> None:
    assert ancestry.fetch_argv("https://example.org/x.git", Path("/there")) == (
        "git", "clone", "--quiet", "--bare", "--filter=tree:0", "--", "https://example.org/x.git", "/there",
    )  # fmt: skip
    assert ancestry.ancestor_argv(Path("/src"), "a", "b") == (
        "git", "-c", "safe.directory=/src", "-C", "/src", "rev-list", "--max-count=1", "a", "^b", "--",
    )  # fmt: skip
