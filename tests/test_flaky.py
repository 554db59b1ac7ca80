"""Running tests again and again."""

import os
from pathlib import Path

import psutil
import pytest

from tests import flaky


def test_what_failed_is_counted_over_runs_in_random_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flaky, "BUSY_LOOPS", 0)  # those who test beside this one need the machine as well
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they cost a second a run
    test = tmp_path / "test_sample.py"
    test.write_text("def test_right(): pass\ndef test_wrong(): raise AssertionError\n")

    code = flaky.main(["--reports", str(tmp_path), "2", "-c", os.devnull, "-q", str(test)])

    assert code == 1
    assert [len(flaky.failed_tests(tmp_path / f"flaky-{number}.xml")) for number in (1, 2)] == [1, 1]


def test_busy_loops_run_until_the_end_of_the_block() -> None:
    with flaky.busy_loops(2):
        loops = [child for child in psutil.Process().children() if "while True: pass" in child.cmdline()]
        assert len(loops) == 2
    assert not any(loop.is_running() for loop in loops)


def test_the_summary_counts_failures_of_each_test() -> None:
    runs = [
        flaky.Run(seed=1, busy=False, seconds=60, failed=["a::x"], counts="1 passed, 1 failed, 0 skipped"),
        flaky.Run(seed=2, busy=True, seconds=90, failed=[], counts="2 passed, 0 failed, 0 skipped"),
    ]

    lines = flaky.summary(runs).splitlines()

    assert lines[0] == "order      1, alone: 1 passed, 1 failed, 0 skipped, 1.0 min"
    assert "6 busy loops" in lines[1]
    assert lines[2] == "a::x: failed in 1 of 2 runs (orders [1])"


def test_a_summary_without_failures_says_so() -> None:
    assert flaky.summary([]) == "Nothing failed in 0 runs."
