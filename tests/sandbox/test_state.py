"""The lock of a sandbox's folder."""

import fcntl
import threading
from pathlib import Path

import pytest

from sandbox.state import locked
from tests.heard import until


def test_a_lock_that_was_removed_meanwhile_locks_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, inside, leave, said = tmp_path / "folder" / "up.lock", threading.Event(), threading.Event(), [""]

    def wait_for_it() -> None:
        with locked(path, "waiting"):
            inside.set()
            leave.wait()

    def waits() -> bool:
        said[0] += capsys.readouterr().err
        return "waiting" in said[0]

    waiting = threading.Thread(target=wait_for_it, daemon=True)
    with locked(path, "nobody else has it"):
        waiting.start()
        until(waits)
        path.unlink()
        path.parent.rmdir()

    until(inside.is_set)
    with path.open("a") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    leave.set()
    waiting.join()
