"""This project's own checks: Nox runs them, and pytest's reports are added up at the end."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tasks.lib import process
from tasks.lib.errors import Failure

REPORTS = Path("build/reports")
NAMED_AT_MOST = 20


@dataclass(frozen=True)
class Counts:
    """How many tests passed, failed and were skipped."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def sessions_argv(sessions: str) -> tuple[str, ...]:
    """The command that runs Nox sessions, separated by commas; the default ones if empty."""
    chosen = [argument for name in sessions.split(",") if name for argument in ("-s", name)]
    return (sys.executable, "-m", "nox", *chosen)


def run_sessions(root: Path, sessions: str) -> None:
    """Run Nox in the foreground, after removing earlier reports; a Failure where a session fails."""
    for stale in [*(root / REPORTS).glob("*.xml"), *(root / "build" / "coverage").glob("*")]:
        stale.unlink()
    if process.stream(sessions_argv(sessions), cwd=root):
        raise failure(sorted((root / REPORTS).glob("*.xml")))


def failure(reports: Sequence[Path]) -> Failure:
    """The error for failed checks, with the command that runs only those again."""
    names = failed_tests(reports)
    if not names:
        return Failure(
            "Checks failed.", f"The failed session is named above ({count(reports)}).",
            "Run one session: ./inv check --session NAME",
        )  # fmt: skip
    more = [f"… and {len(names) - NAMED_AT_MOST} more"] if len(names) > NAMED_AT_MOST else []
    return Failure(
        f"Checks failed ({count(reports)}).", "\n".join([*names[:NAMED_AT_MOST], *more]),
        "Run only the failed tests again: .venv/bin/python -m pytest --last-failed",
    )  # fmt: skip


def closing_line(root: Path) -> str:
    """How many tests of all sessions passed, failed and were skipped."""
    return str(count((root / REPORTS).glob("*.xml")))


def failed_tests(reports: Iterable[Path]) -> list[str]:
    """The tests that failed, or whose fixtures did, such as tests.lib.test_files::test_x."""
    return sorted(
        {
            f"{case.get('classname')}::{case.get('name')}"
            for report in reports
            for case in _root(report).iter("testcase")
            if case.find("failure") is not None or case.find("error") is not None
        }
    )


def count(reports: Iterable[Path]) -> Counts:
    """Add up pytest's JUnit reports."""
    total = failed = skipped = 0
    for report in reports:
        for suite in _root(report).iter("testsuite"):
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    return Counts(total - failed - skipped, failed, skipped)


def _root(report: Path) -> ElementTree.Element:
    return ElementTree.parse(report).getroot()  # noqa: S314 - pytest's own report, made in this run
