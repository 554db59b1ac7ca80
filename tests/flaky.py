"""Runs pytest again and again in random order, every second time beside busy loops, and counts what failed.

`nox -s flaky -- 10` runs the e2e tests so.  A test that fails in some runs only is told with the seeds of their
order: `LOOKIT_ORDER=SEED` before a call of pytest gives that order again.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tasks.lib.console import say

BUSY_LOOPS = 6


@dataclass(frozen=True)
class Run:
    """One run: the seed of its order, how long it took, which tests failed, and how many passed and not."""

    seed: int
    busy: bool
    seconds: float
    failed: Sequence[str]
    counts: str

    @property
    def line(self) -> str:
        """The run in one line."""
        how = f"beside {BUSY_LOOPS} busy loops" if self.busy else "alone"
        return f"order {self.seed:>6}, {how}: {self.counts}, {self.seconds / 60:.1f} min"


def main(argv: Sequence[str]) -> int:
    """Run as the command line says; returns the exit code, 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="nox -s flaky --", description=__doc__)
    parser.add_argument("runs", type=int, help="how many runs; every second one beside busy loops")
    parser.add_argument("--reports", type=Path, required=True, help="the folder for JUnit reports")
    parser.add_argument("pytest", nargs=argparse.REMAINDER, help="pytest's own arguments")
    given = parser.parse_args(argv)
    runs = []
    for number in range(1, given.runs + 1):
        runs.append(one_run(number, given.reports, given.pytest))
        say(f"Run {number} of {given.runs}: {runs[-1].line}")
    say("\n" + summary(runs))
    return 1 if any(run.failed for run in runs) else 0


def one_run(number: int, reports: Path, arguments: Sequence[str]) -> Run:
    """Run pytest once in an order of its own; every second run has busy loops beside it."""
    seed, busy = random.randrange(1_000_000), number % 2 == 0
    report = reports / f"flaky-{number}.xml"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", f"--junit-xml={report}", *arguments]
    began = time.monotonic()
    with busy_loops(BUSY_LOOPS if busy else 0):
        ended = subprocess.run(argv, env={**os.environ, "LOOKIT_ORDER": str(seed)}, check=False)
    failed = failed_tests(report) if report.exists() else []
    if ended.returncode and not failed:
        failed = [f"pytest itself, which ended with {ended.returncode}"]
    counts = counts_of(report) if report.exists() else "no report"
    return Run(seed, busy, time.monotonic() - began, failed, counts)


def failed_tests(report: Path) -> list[str]:
    """The tests that failed, or whose fixtures did, such as tests.lib.test_files::test_x."""
    cases = _root(report).iter("testcase")
    failed = (case for case in cases if case.find("failure") is not None or case.find("error") is not None)
    return sorted({f"{case.get('classname')}::{case.get('name')}" for case in failed})


def counts_of(report: Path) -> str:
    """How many tests passed, failed and were skipped, out of pytest's report."""
    suites = list(_root(report).iter("testsuite"))
    total, skipped, *bad = (
        sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "skipped", "failures", "errors")
    )
    return f"{total - skipped - sum(bad)} passed, {sum(bad)} failed, {skipped} skipped"


def _root(report: Path) -> ElementTree.Element:
    return ElementTree.parse(report).getroot()  # noqa: S314 - pytest's own report, made in this run


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """While inside, so many processes use a core each."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def summary(runs: Sequence[Run]) -> str:
    """Every run in a line, then what failed, how often, and in which orders."""
    seeds: Mapping[str, list[int]] = defaultdict(list)
    for run in runs:
        for name in run.failed:
            seeds[name].append(run.seed)
    often = sorted(seeds.items(), key=lambda item: -len(item[1]))
    told = [
        f"{name}: failed in {len(found)} of {len(runs)} runs (orders {found})" for name, found in often
    ] or [f"Nothing failed in {len(runs)} runs."]
    return "\n".join([run.line for run in runs] + told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
