"""Named steps run one after another, timed, with one table at the end whether they passed or not."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.lib import console
from tasks.lib.console import spoken
from tasks.lib.errors import Failure

State = Literal["done", "failed", "interrupted", "not run"]
COLOURS: dict[State, str] = {"done": "green", "failed": "red", "interrupted": "yellow", "not run": "dim"}


@dataclass(frozen=True)
class Step:
    """One step: `run` does it and returns what to say of the result, in a few words."""

    title: str
    run: Callable[[], str]


@dataclass(frozen=True)
class Outcome:
    """How a step ended and how many seconds it took."""

    title: str
    state: State
    result: str
    seconds: float


def run_all(steps: Sequence[Step], title: str) -> list[Outcome]:
    """Run `steps` in order; the first that fails ends the run. The table is printed in any case."""
    outcomes: list[Outcome] = []
    try:
        for step in steps:
            console.heading(step.title)
            _run(step, outcomes)
    finally:
        outcomes += [Outcome(step.title, "not run", "", 0) for step in steps[len(outcomes) :]]
        console.table(("step", "result", "time"), [row(outcome) for outcome in outcomes], title)
    return outcomes


def row(outcome: Outcome) -> list[console.Cell]:
    """A table row; a step that did not run has no time."""
    said = f"{outcome.state}: {outcome.result}" if outcome.result else outcome.state
    took = "" if outcome.state == "not run" else spoken(outcome.seconds)
    return [outcome.title, console.Styled(said, COLOURS[outcome.state]), took]


def _run(step: Step, outcomes: list[Outcome]) -> None:
    """Run one step and record how it ended, also where it ends the run."""
    started = time.monotonic()

    def record(state: State, result: str = "") -> None:
        outcomes.append(Outcome(step.title, state, result, time.monotonic() - started))

    try:
        result = step.run()
    except Failure as failure:
        record("failed", failure.what)
        raise
    except BaseException:
        record("interrupted")
        raise
    record("done", result)
