"""The checks as Nox's sessions."""

import sys
from pathlib import Path

import pytest

from tasks.lib import checks, process
from tasks.lib.errors import Failure


def test_sessions_argv() -> None:
    assert checks.sessions_argv("") == (sys.executable, "-m", "nox")
    assert checks.sessions_argv("lint,types") == (sys.executable, "-m", "nox", "-s", "lint", "-s", "types")


def test_a_failed_session_comes_with_the_command_to_rerun_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = tmp_path / "build" / "coverage" / "tests"
    stale.parent.mkdir(parents=True)
    stale.touch()
    monkeypatch.setattr(process, "stream", lambda *_, **__: 1)

    with pytest.raises(Failure) as caught:
        checks.run_sessions(tmp_path, "lint")

    assert "--session" in caught.value.next_step
    assert not stale.exists(), "an earlier measurement would be added to this one"
