"""This project's own checks: Nox runs them, and what pytest reported is added up at the end."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tasks.lib import process
from tasks.lib.errors import Failure

REPORTS = Path("build/reports")


@dataclass(frozen=True)
class Counts:
    """How many tests ended in which way."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def sessions_argv(sessions: str) -> tuple[str, ...]:
    """The command that runs Nox sessions, named with commas; an empty text means the default ones."""
    chosen = [argument for name in sessions.split(",") if name for argument in ("-s", name)]
    return (sys.executable, "-m", "nox", *chosen)


def run_sessions(root: Path, sessions: str) -> None:
    """Run Nox in the foreground, after removing the reports of earlier runs.

    Raises:
        Failure: a session failed; its output is above.

    """
    for stale in [*(root / REPORTS).glob("*.xml"), *(root / "build" / "coverage").glob(".coverage.*")]:
        stale.unlink()
    code = process.stream(sessions_argv(sessions), cwd=root)
    if code:
        counted = count(sorted((root / REPORTS).glob("*.xml")))
        raise Failure(
            "Checks failed.", f"What failed is above ({counted}).", "Run one: ./inv check --session NAME"
        )


def closing_line(root: Path) -> str:
    """The tests of all sessions, added up."""
    return str(count(sorted((root / REPORTS).glob("*.xml"))))


def count(reports: Iterable[Path]) -> Counts:
    """Add up JUnit reports as pytest writes them."""
    total = failed = skipped = 0
    for report in reports:
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):  # noqa: S314 - see the import
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    return Counts(total - failed - skipped, failed, skipped)
