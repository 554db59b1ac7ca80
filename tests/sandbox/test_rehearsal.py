"""What a rehearsal decides by itself; tests/e2e/test_rehearse.py runs whole ones."""

from pathlib import Path

import pytest

from sandbox.rehearsal import commit_without_git


@pytest.mark.parametrize("git", ["folder", "file", "none"])
def test_only_a_folder_without_git_gets_a_made_up_commit(tmp_path: Path, git: str) -> None:
    if git == "folder":
        (tmp_path / ".git").mkdir()
    if git == "file":  # a worktree
        (tmp_path / ".git").write_text("gitdir: elsewhere")

    assert commit_without_git(tmp_path) == ("0" * 40 if git == "none" else "")
