"""The files that a build leaves: which folders are kept, and the folder that every step may write to."""

import shutil
from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.pipeline import artifacts


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name in (
        "reports/deploy.json",
        "reports/evidence/record.json",
        "one.xml",
        "two.txt",
        "sub/three.xml",
    ):
        path = tmp_path / "workspace" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "workspace"


def kept(workspace: Path, *paths: str) -> list[str]:
    """The names that are kept of `paths`; each file still holds its own name."""

    def take(place: str, folder: Path) -> None:
        if (workspace / place).exists():
            shutil.copytree(workspace / place, folder / place, dirs_exist_ok=True)

    folder = workspace.parent / "kept"
    files = artifacts.keep(paths, take, folder)
    names = [str(file.relative_to(folder)) for file in files]
    assert [file.read_text() for file in files] == names
    return names


@pytest.mark.parametrize("path", ["reports/deploy.json", "reports/*.json", "/workspace/reports/deploy.json"])
def test_of_an_artifact_its_whole_folder_is_kept(workspace: Path, path: str) -> None:
    assert kept(workspace, path) == ["reports/deploy.json", "reports/evidence/record.json"]


@pytest.mark.parametrize(
    ("path", "names"),
    [("*.xml", ["one.xml"]), ("**/*.xml", ["one.xml", "sub/three.xml"]), ("two.txt", ["two.txt"])],
)
def test_only_matching_files_are_kept_as_artifacts(workspace: Path, path: str, names: list[str]) -> None:
    assert kept(workspace, path) == names


def test_a_missing_artifact_is_not_a_failure(workspace: Path) -> None:
    assert kept(workspace, "*.xml", "one.xml", "missing/x", "none.txt") == ["one.xml"]


def test_a_folder_for_reports_can_be_written_by_every_user(tmp_path: Path) -> None:
    for _ in range(2):
        artifacts.make_shared_folder(tmp_path / "a" / "reports")

    assert (tmp_path / "a" / "reports").stat().st_mode & 0o7777 == 0o1777


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Failure, match="cannot be shared"):
        artifacts.make_shared_folder(tmp_path / "file" / "reports")
