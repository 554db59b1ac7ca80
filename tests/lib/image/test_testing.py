"""What a run of the application's tests leaves behind: nothing, whenever it is told to end."""

import os
import signal
import threading
from pathlib import Path

import pytest

from tasks.lib.image.testing import make_names, network
from tasks.lib.interruption import signals_unwind
from tests.program import Here

DOCKER = """#!/bin/sh
echo "$2 begins" >> "$LOG"
test "$2" = rm || while test ! -e "$LOG.go"; do sleep 0.02; done
echo "$2 ends" >> "$LOG"
"""


def test_a_network_that_is_being_made_when_the_run_is_told_to_end_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, log = tmp_path / "docker", tmp_path / "log"
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(log))

    def tell() -> None:
        while not log.exists():
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(0.5)  # time for the signal to end the client, were it let
        (tmp_path / "log.go").touch()

    teller = threading.Thread(target=tell)
    teller.start()
    with pytest.raises(KeyboardInterrupt), signals_unwind(), network(make_names(), {}, 20):
        pytest.fail("it was told to end")
    teller.join()

    assert log.read_text().splitlines() == ["create begins", "create ends", "rm begins", "rm ends"]


def test_a_command_whose_quotes_do_not_match_is_bad_usage(here: Here, tmp_path: Path) -> None:
    ended = here.inv("test", "--source", str(tmp_path), "--commit", "c" * 40, "--command", "pytest 'a")

    assert ended.code == 2
    assert ended.stderr.startswith("The command cannot be read: pytest 'a\n  why:  No closing quotation.\n")
