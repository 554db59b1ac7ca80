"""Timing alternatives fairly: in turns, several rounds, medians and ratios, printed as Markdown."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """The seconds that one alternative took, round by round."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.seconds)


def in_turns(
    alternatives: Mapping[str, Callable[[], object]],
    rounds: int,
    before: Callable[[str], object] = lambda name: None,
) -> list[Timing]:
    """Time each alternative once a round, so that a busy moment of the machine hits all alike.

    Every other round goes the other way round, so that none always follows the same one.

    Args:
        alternatives: what to time, by the name to print; the first is what ratios refer to.
        rounds: how often each runs; a run before the first round warms caches and is not counted.
        before: called with the name before each run, outside the time.

    """
    for name, run in alternatives.items():
        before(name)
        run()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for number in range(rounds):
        for name, run in list(alternatives.items())[:: 1 if number % 2 == 0 else -1]:
            before(name)
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return [Timing(name, tuple(taken)) for name, taken in seconds.items()]


def markdown(title: str, timings: list[Timing]) -> str:
    """A table of medians, spreads and ratios to the first row."""
    base = timings[0].median
    rows = [
        f"| {t.name} | {t.median:.3f} s | {min(t.seconds):.3f} to {max(t.seconds):.3f} s "
        f"| {t.median / base:.2f} |"
        for t in timings
    ]
    head = ["| what | median | range | ratio to the first |", "|-|-|-|-|"]
    return "\n".join([f"### {title}", "", *head, *rows, ""])


def processor_time(pids: Iterable[int]) -> float:
    """The seconds of processor that these processes have taken so far."""
    stats = [(Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """One line on what the figures were measured with."""
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}"
