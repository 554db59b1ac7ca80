"""What a deploy tells while it runs, and the record of what became of each object."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.plan.decide import Action, Step

if TYPE_CHECKING:
    from tasks.lib.deploy.plan.document import Plan


@dataclass(frozen=True)
class PhaseBegan:
    """A phase begins."""

    title: str


@dataclass(frozen=True)
class Told:
    """Something to know about one object, such as `Deployment web` `0 of 1 available`."""

    ref: Ref
    text: str


@dataclass(frozen=True)
class LogLine:
    """A line that a Job's container wrote."""

    pod: str
    line: str


@dataclass(frozen=True)
class Notice:
    """Something to know about the deploy as a whole."""

    text: str


DEPLOYED: Final = "deployed"
# The result of release 0, which others deployed.
BEFORE: Final = "before the first deploy"
# The lines of each container's log that are kept: the pod may be gone when they are asked for.
LINES_HEARD: Final = 2000


@dataclass
class Row:
    """What became of one object.

    Args:
        phase: the title of its phase.
        ref: its name.
        action: what the plan says.
        result: `not reached`, `applied`, `ready`, `waiting: …`, `failed: …` and so on.
        seconds: from its apply to its end, where that is known.
        began: when that was, as time.monotonic() counts.
        count: ready and desired replicas, such as `1/2`, where it has any.

    """

    phase: str
    ref: Ref
    action: Action
    result: str = "not reached"
    seconds: float | None = None
    began: float | None = None
    count: str = ""


@dataclass
class Record:
    """The course of one deploy.

    Args:
        environment: where.
        rows: what became of each object, in the order of the plan.
        phases: how long each took.
        began: when, by the monotonic clock.
        outcome: how it ended, as history keeps it.
        aftermath: what was done about a failure, not waited for, or is left to do, as sentences.
        blank: takes secret values out of what rows say; they quote containers and the cluster.
        heard: the last lines that containers of Jobs wrote, by pod and container.

    """

    environment: str
    rows: dict[Ref, Row] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    outcome: str = "failed"
    aftermath: list[str] = field(default_factory=list)
    blank: Callable[[str], str] = str
    heard: dict[tuple[str, str], deque[str]] = field(default_factory=dict)

    def plan(self, phase: str, steps: list[Step]) -> None:
        """Enter the steps of a phase."""
        for step in steps:
            self.rows[step.ref] = Row(phase, step.ref, step.action)

    def begin(self, ref: Ref, result: str) -> None:
        """An object is being worked on."""
        self.rows[ref].began = time.monotonic()
        self.rows[ref].result = result

    def note(self, ref: Ref, result: str, count: str) -> None:
        """An object goes on being worked on."""
        self.rows[ref].result, self.rows[ref].count = self.blank(result), count

    def end(self, ref: Ref, result: str) -> None:
        """An object is done with."""
        row = self.rows[ref]
        row.result = self.blank(result)
        if row.began is not None:
            row.seconds = time.monotonic() - row.began

    def hear(self, pod: str, container: str, line: str) -> None:
        """A container wrote a line."""
        self.heard.setdefault((pod, container), deque(maxlen=LINES_HEARD)).append(line)

    @property
    def changed(self) -> list[Row]:
        """The rows whose plan was to change the cluster."""
        return [
            row for row in self.rows.values() if row.action not in {Action.KEEP, Action.SKIP, Action.AWAIT}
        ]


@dataclass(frozen=True)
class Began:
    """A deploy begins; its record fills as it goes on, for those who show more than what is told."""

    record: Record


@dataclass(frozen=True)
class Ended:
    """A deploy is over, however it ended; its record is complete."""

    record: Record
    seconds: float


@dataclass(frozen=True)
class Decided:
    """It is clear what will be done."""

    plan: "Plan"


@dataclass(frozen=True)
class Remembered:
    """What history keeps of the release."""

    facts: dict[str, str]


Event = Began | Ended | Decided | Remembered | PhaseBegan | Told | LogLine | Notice
Tell = Callable[[Event], None]
