"""Which checkout is built, and whether it holds what it says."""

import os
import subprocess
from pathlib import Path

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.image.checkout import Checkout, branch_of, check, folder, observe, variables
from tests.builders import checked_in_settings
from tests.sample_checkout import WHEN, Sample, sample

COMMIT = "c" * 40


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


def test_a_folder_that_is_not_there_is_said_before_git_is_asked(tmp_path: Path) -> None:
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


def test_git_says_commit_time_and_changes(checkout: Sample) -> None:
    assert observe(checkout.folder) == Checkout(checkout.head, WHEN.replace("+00:00", "Z"), [])
    assert branch_of(checkout.folder) == "develop"

    (checkout.folder / "new file").touch()
    (checkout.folder / "manage.py").write_text("")
    assert observe(checkout.folder).changed == [" M manage.py", '?? "new file"']


def test_a_tag_of_the_branch_s_name_is_not_taken_for_it(checkout: Sample) -> None:
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

    assert observe(odd.folder) == Checkout(odd.head, WHEN.replace("+00:00", "Z"), ["?? caf\ufffd.txt"])
    assert branch_of(odd.folder) == "caf\ufffd"


def test_a_folder_within_a_checkout_is_none_itself(checkout: Sample) -> None:
    (checkout.folder / "inner").mkdir()

    assert observe(checkout.folder / "inner") == Checkout()


def test_a_folder_without_git_is_no_checkout_and_on_no_branch(tmp_path: Path) -> None:
    assert observe(tmp_path) == Checkout()
    assert branch_of(tmp_path) == "detached"


@pytest.mark.parametrize(("name", "kind"), [("", "has no Dockerfile"), ("absent", "is no folder")])
def test_without_a_dockerfile_there_is_nothing_to_build(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(UsageError) as refused:
        check(tmp_path / name, "Dockerfile", Checkout(), COMMIT)

    assert refused.value.what == f"There is nothing to build: {tmp_path / name} {kind}."


def test_another_commit_than_the_checkout_s_is_not_built(tmp_path: Path) -> None:
    folder = tmp_path / "my checkout"
    folder.mkdir()
    (folder / "Dockerfile").touch()

    with pytest.raises(UsageError) as refused:
        check(folder, "Dockerfile", Checkout("d" * 40), COMMIT)

    assert refused.value.next_step == f"git -C '{folder}' checkout {COMMIT}"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ([], ""),
        (
            [f" M f{n}" for n in range(6)],
            "has 6 uncommitted change(s), which go into the image: f0, f1, f2, f3, f4",
        ),
    ],
)
def test_changes_that_no_commit_holds_are_told(
    tmp_path: Path, changed: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Dockerfile").touch()

    check(tmp_path, "Dockerfile", Checkout(COMMIT, "", changed), COMMIT)

    assert capsys.readouterr().err == (f"Warning: {tmp_path} {told}\n" if told else "")
