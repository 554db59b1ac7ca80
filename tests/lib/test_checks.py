"""Adding up what pytest reported."""

import sys
from pathlib import Path

from tasks.lib import checks


def test_sessions_argv() -> None:
    assert checks.sessions_argv("") == (sys.executable, "-m", "nox")
    assert checks.sessions_argv("lint,types") == (sys.executable, "-m", "nox", "-s", "lint", "-s", "types")


def test_counts_are_added_over_reports(tmp_path: Path) -> None:
    reports = tmp_path / checks.REPORTS
    reports.mkdir(parents=True)
    (reports / "tests.xml").write_text(
        '<testsuites><testsuite tests="10" failures="1" errors="1" skipped="2"/></testsuites>'
    )
    (reports / "e2e.xml").write_text('<testsuites><testsuite tests="5"/></testsuites>')

    assert checks.closing_line(tmp_path) == "11 passed, 2 failed, 2 skipped"
