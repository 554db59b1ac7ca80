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


def test_failed_tests_come_with_the_command_to_rerun_them(tmp_path: Path) -> None:
    report = tmp_path / "e2e.xml"
    report.write_text(
        '<testsuites><testsuite tests="4" failures="1" errors="1">'
        '<testcase classname="tests.e2e.test_a" name="test_one"><failure/></testcase>'
        '<testcase classname="tests.e2e.test_a" name="test_two[x]"><error/></testcase>'
        '<testcase classname="tests.e2e.test_a" name="test_three"/>'
        '<testcase classname="tests.e2e.test_a" name="test_four"><skipped/></testcase>'
        "</testsuite></testsuites>"
    )

    failure = checks.failure([report])

    assert failure.why == "tests.e2e.test_a::test_one\ntests.e2e.test_a::test_two[x]"
    assert failure.next_step.endswith("pytest --last-failed")


def test_a_failed_session_comes_with_the_command_to_rerun_it(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    report.write_text('<testsuites><testsuite tests="4"/></testsuites>')

    assert "--session" in checks.failure([report]).next_step
