"""Sessions remembered across runs."""

import os
import stat
import time
from pathlib import Path

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
