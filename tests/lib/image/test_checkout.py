"""Which checkout is built, and whether it holds what it says."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.image import build
from tasks.lib.image.checkout import (
    CHANGED,
    COMMIT,
    FOLDER,
    Tree,
    branch_of,
    committed,
    copied,
    folder,
    head,
    variables,
    worktree,
)
from tests.builders import checked_in_settings
from tests.sample_checkout import WHEN, Sample, sample

ABSENT = "c" * 40


@pytest.fixture
def checkout(tmp_path: Path) -> Sample:
    return sample(tmp_path / "lookit-api")


@pytest.mark.parametrize(
    ("option", "setting", "expected"),
    [
        ("../api", "elsewhere", "/here/api"),
        ("/abs/api", "", "/abs/api"),
        ("", "inner/../elsewhere", "{root}/elsewhere"),
        ("", "", "/here/now"),
    ],
    ids=["the option, from here", "an absolute option", "the settings', from the root", "here"],
)
def test_the_checkout_is(option: str, setting: str, expected: str) -> None:
    settings = checked_in_settings(source={"checkout": setting})

    found = folder(settings, option, Path("/here/now"))

    assert str(found) == expected.format(root=settings.root)


def test_a_missing_checkout_is_refused_before_git_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        variables(checked_in_settings(), tmp_path / "absent", branch="develop")

    assert refused.value.what == f"There is no folder {tmp_path / 'absent'}."


def test_links_that_lead_in_a_circle_are_no_folder(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    settings = checked_in_settings(source={"checkout": str(tmp_path / "circle")})

    for found in (folder(settings, "circle", tmp_path), folder(settings, "", tmp_path)):
        with pytest.raises(UsageError, match="There is no folder"):
            variables(settings, found, branch="develop")


def test_a_folder_of_another_user_is_asked_for_its_commit(
    checkout: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a workspace that is mounted into a container: git refuses it unless told that it is meant."""
    head = checkout.head
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    assert variables(checked_in_settings(), checkout.folder).commit_sha == head


def test_the_commit_is_copied_without_its_history(checkout: Sample) -> None:
    with committed(checkout.folder, checkout.head) as tree:
        files = {str(path.relative_to(tree.folder)) for path in tree.folder.rglob("*") if path.is_file()}
        assert files == set(tracked(checkout))
        assert tree.committed == WHEN.replace("+00:00", "Z")
        assert tree.built_from == COMMIT

    assert not tree.folder.exists()
    assert branch_of(checkout.folder) == "develop"


def tracked(checkout: Sample) -> list[str]:
    listed = subprocess.run(("git", "-C", checkout.folder, "ls-files", "-z"), capture_output=True, check=True)
    return listed.stdout.decode().split("\0")[:-1]


def test_files_in_the_workspace_do_not_make_images_dirty(
    checkout: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a report that an earlier step of Cloud Build wrote."""
    (checkout.folder / "new.xml").touch()
    (checkout.folder / "manage.py").write_text("changed")

    with committed(checkout.folder, checkout.head) as tree:
        assert tree.built_from == COMMIT
        assert not (tree.folder / "new.xml").exists()
        assert (tree.folder / "manage.py").read_text() != "changed"

    assert capsys.readouterr().err == (
        f"Warning: 2 uncommitted file(s) of {checkout.folder} are left out: manage.py, new.xml. "
        "Commit them, or build with --worktree.\n"
    )


def test_all_files_on_purpose_are_told_the_ignored_ones_too(
    checkout: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    with worktree(checkout.folder, checkout.head) as tree:
        assert tree == Tree(
            source=checkout.folder, folder=checkout.folder, committed=WHEN.replace("+00:00", "Z")
        )
    (checkout.folder / ".env").touch()
    for n in range(6):
        (checkout.folder / f"f{n}").touch()

    with worktree(checkout.folder, checkout.head) as tree:
        assert tree.built_from == CHANGED

    assert capsys.readouterr().err == (
        f"Warning: the image gets 7 file(s) of {checkout.folder} that are not in commit {checkout.head[:7]}, "
        "so `push` refuses it: f0, f1, f2, f3, f4, ….\n"
    )


def test_any_commit_of_the_checkout_can_be_built(checkout: Sample) -> None:
    first = checkout.head
    checkout.commit(later="")

    with committed(checkout.folder, first) as tree:
        assert not (tree.folder / "later").exists()


def test_detached_and_shallow_commits_are_found(checkout: Sample, tmp_path: Path) -> None:
    checkout.commit(one="")
    shallow = tmp_path / "shallow"
    subprocess.run(("git", "clone", "-q", "--depth=1", f"file://{checkout.folder}", str(shallow)), check=True)
    git = ("git", "-C", str(shallow), "-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run((*git, "commit", "-q", "--allow-empty", "-m", "on a branch"), check=True)
    wanted = head(shallow)
    subprocess.run((*git, "reset", "-q", "--hard", "HEAD~"), check=True)

    with copied(shallow, wanted) as copy:
        assert head(copy) == wanted


def test_a_commit_that_the_checkout_lacks_is_named(checkout: Sample) -> None:
    with pytest.raises(UsageError) as refused, committed(checkout.folder, ABSENT):
        pass

    assert refused.value.what == f"{checkout.folder} has no commit {ABSENT}."
    assert refused.value.next_step == f"git -C {checkout.folder} fetch --all"


@pytest.fixture
def with_submodule(checkout: Sample, tmp_path: Path) -> Sample:
    """A checkout with a submodule that is checked out."""
    inner = sample(tmp_path / "inner")
    git = ("git", "-C", str(checkout.folder), "-c", "protocol.file.allow=always")
    subprocess.run((*git, "submodule", "--quiet", "add", str(inner.folder), "vendored"), check=True)
    checkout.commit()
    return checkout


@pytest.mark.parametrize("content", [committed, worktree])
@pytest.mark.parametrize("checked_out", [True, False])
def test_a_submodule_comes_along_or_is_told(
    with_submodule: Sample, capsys: pytest.CaptureFixture[str], content: Any, *, checked_out: bool
) -> None:
    folder = with_submodule.folder
    if not checked_out:
        subprocess.run(("git", "-C", folder, "submodule", "--quiet", "deinit", "vendored"), check=True)

    with content(folder, with_submodule.head) as tree:
        assert (tree.folder / "vendored" / "manage.py").exists() is checked_out
        assert tree.built_from == COMMIT

    told = f"Warning: submodules of {folder} that are not checked out are empty in the image: vendored. "
    assert capsys.readouterr().err.startswith(told) is not checked_out


def test_a_tag_named_like_the_branch_is_ignored(checkout: Sample) -> None:
    """`git symbolic-ref --short` would call the branch `heads/develop` beside such a tag."""
    subprocess.run(("git", "-C", str(checkout.folder), "tag", "develop"), check=True)

    assert branch_of(checkout.folder) == "develop"


def test_names_that_are_no_utf_8_are_no_obstacle(tmp_path: Path) -> None:
    """Git carries bytes; with core.quotePath off it prints a file's as they are."""
    odd = sample(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")))
    git = ("git", "-C", str(odd.folder))
    subprocess.run((*git, "config", "core.quotePath", "false"), check=True)
    subprocess.run((*git, "checkout", "--quiet", "-b", os.fsdecode(b"caf\xe9")), check=True)
    (odd.folder / os.fsdecode(b"caf\xe9.txt")).touch()

    with worktree(odd.folder, odd.head) as tree:
        assert tree.others == ("caf\ufffd.txt",)
    assert branch_of(odd.folder) == "caf\ufffd"


def test_a_folder_within_a_checkout_is_none_itself(checkout: Sample) -> None:
    (checkout.folder / "inner").mkdir()

    assert head(checkout.folder / "inner") == ""


@pytest.mark.parametrize("content", [committed, worktree])
def test_a_folder_without_git_is_taken_as_it_is(tmp_path: Path, content: Any) -> None:
    with content(tmp_path, ABSENT) as tree:
        assert tree == Tree(source=tmp_path, folder=tmp_path)
        assert tree.built_from == FOLDER

    assert branch_of(tmp_path) == "detached"


@pytest.mark.parametrize("name", ["", "absent"])
def test_without_a_dockerfile_there_is_nothing_to_build(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name

    with pytest.raises(UsageError) as refused:
        build.check(Tree(source=folder, folder=folder), "Dockerfile")

    assert refused.value.what == f"There is nothing to build: {folder} has no Dockerfile."
    assert "--source" in refused.value.next_step


def test_a_dockerfile_that_is_not_committed_is_no_mystery(checkout: Sample) -> None:
    (checkout.folder / "Dockerfile.new").touch()

    with (
        committed(checkout.folder, checkout.head) as tree,
        pytest.raises(UsageError, match="but not in the commit") as refused,
    ):
        build.check(tree, "Dockerfile.new")

    assert refused.value.next_step == "Commit it, or build with --worktree."


def test_files_of_another_commit_are_not_named_after_this_one(checkout: Sample) -> None:
    with pytest.raises(UsageError) as refused, worktree(checkout.folder, ABSENT):
        pass

    assert refused.value.next_step == f"git -C {checkout.folder} checkout {ABSENT}"


def test_containers_can_read_the_workspace_under_any_umask(checkout: Sample) -> None:
    """Files keep their modes when Docker copies them, and the orchestrator runs as a user without rights."""
    before = os.umask(0o077)
    try:
        with copied(checkout.folder, checkout.head) as workspace:
            modes = {path: path.stat().st_mode & 0o777 for path in workspace.rglob("*")}
    finally:
        os.umask(before)

    assert {mode for path, mode in modes.items() if ".git" not in path.parts} <= {0o644, 0o755}
    assert all(mode & 0o044 == 0o044 for mode in modes.values())


def test_the_workspace_may_come_from_another_user_s_checkout(
    checkout: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is mounted into a container: git forgets what it was told is safe where it reads the source."""
    commit = checkout.head
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    with copied(checkout.folder, commit) as workspace:
        assert (workspace / "manage.py").exists()


def test_a_folder_that_is_no_checkout_cannot_become_the_workspace(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused, copied(tmp_path, ABSENT):
        pass

    assert refused.value.what == f"{tmp_path} is not a git checkout."
