"""This project's own checks, which Nox runs."""

import sys
from pathlib import Path

from tasks.lib import process
from tasks.lib.errors import Failure


def sessions_argv(sessions: str) -> tuple[str, ...]:
    """The command that runs Nox sessions, separated by commas; the default ones if empty."""
    chosen = [argument for name in sessions.split(",") if name for argument in ("-s", name)]
    return (sys.executable, "-m", "nox", *chosen)


def run_sessions(root: Path, sessions: str) -> None:
    """Run Nox in the foreground, after removing earlier measurements; a Failure where a session fails."""
    for stale in (root / "build" / "coverage").glob("*"):
        stale.unlink()
    if process.stream(sessions_argv(sessions), cwd=root):
        raise Failure(
            "Checks failed.",
            "What failed is above.",
            "Run one session: ./inv check --session NAME\n"
            "Run only the failed tests again: .venv/bin/python -m pytest --last-failed",
        )
