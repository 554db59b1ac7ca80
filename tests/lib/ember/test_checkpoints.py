"""Sessions remembered across runs."""

import os
import stat
import time
from pathlib import Path

import pytest

from tasks.lib.ember.checkpoints import Checkpoints


def test_a_session_is_remembered_privately_until_it_is_forgotten(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state")
    assert checkpoints.load("one") == ("", 0)
    checkpoints.save("one", "http://bucket/session?id=1", 512)
    assert checkpoints.load("one") == ("http://bucket/session?id=1", 512)
    assert checkpoints.load("two") == ("", 0)
    (file,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    checkpoints.forget("one")
    assert list((tmp_path / "state").iterdir()) == []


def test_a_session_that_has_run_out_is_not_taken_up(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("old", "http://old", 0)
    (old,) = tmp_path.iterdir()
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (week_ago, week_ago))
    assert checkpoints.load("old") == ("", 0)
    checkpoints.save("new", "http://new", 0)
    assert not old.exists()


def test_unwritable_folder_keeps_sessions_in_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    checkpoints = Checkpoints(tmp_path / "state")
    checkpoints.save("one", "http://one", 0)
    checkpoints.save("one", "http://one", 512)
    assert checkpoints.load("one") == ("http://one", 512)
    assert checkpoints.load("two") == ("", 0)
    assert capsys.readouterr().err.count("Large files cannot be taken up again by a later run") == 1
    checkpoints.forget("one")
    assert checkpoints.load("one") == ("", 0)


def test_unreadable_session_is_ignored(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("one", "http://one", 0)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"\xff\xfe")
    assert checkpoints.load("one") == ("", 0)


def test_a_session_that_another_upload_forgets_meanwhile_is_no_trouble(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # It is listed, and not there any more when it is looked at.
    (tmp_path / "another.session").symlink_to(tmp_path / "gone")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("one", "http://one", 512)
    assert Checkpoints(tmp_path).load("one") == ("http://one", 512)
    assert capsys.readouterr().err == ""
