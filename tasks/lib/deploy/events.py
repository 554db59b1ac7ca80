"""What a deploy tells while it runs, and the record of what became of each object."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.steps import Action, Plan, Step


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
    container: str = ""


@dataclass(frozen=True)
class Notice:
    """Something to know about the deploy as a whole."""

    text: str


class Result(StrEnum):
    """How far one object has come."""

    NOT_REACHED = "not reached"
    APPLYING = "being applied"
    WAITING = "waiting"
    REMOVING = "being removed"
    UNCHANGED = "unchanged"
    RAN_BEFORE = "ran before"
    APPLIED = "applied"
    READY = "ready"
    COMPLETE = "complete"
    REMOVED = "removed"
    LEFT = "left"
    FAILED = "failed"
    TIMED_OUT = "timed out"


# Nothing had to be done with these, and all is well with those.
SETTLED: Final = frozenset({Result.UNCHANGED, Result.RAN_BEFORE})
GOOD: Final = SETTLED | {Result.APPLIED, Result.READY, Result.COMPLETE, Result.REMOVED, Result.LEFT}
BAD: Final = frozenset({Result.FAILED, Result.TIMED_OUT})


class ReleaseResult(StrEnum):
    """How a release ended, as history keeps it."""

    DEPLOYED = "deployed"
    FAILED = "failed"
    RECOVERED = "failed, rolled back"
    RECOVERY_FAILED = "failed, rollback failed"
    RECOVERY_INTERRUPTED = "failed, rollback interrupted"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    ROLLBACK_FAILED = "rollback failed"
    ROLLBACK_INTERRUPTED = "rollback interrupted"
    BEFORE = "before the first deploy"  # of release 0, which others deployed
    UNKNOWN = "unknown"


# The lines of each container's log that are kept: the pod may be gone when they are asked for.
LINES_HEARD: Final = 2000


@dataclass
class Row:
    """What became of one object."""

    phase: str
    ref: Ref
    action: Action
    result: Result = Result.NOT_REACHED
    detail: str = ""  # why it waits, failed or timed out
    seconds: float | None = None  # from its apply to its end, where that is known
    began: float | None = None  # when that was, as time.monotonic() counts
    count: str = ""  # ready and desired replicas, such as `1/2`, where it has any

    @property
    def words(self) -> str:
        """The result with its detail."""
        return f"{self.result}: {self.detail}" if self.detail else str(self.result)


@dataclass
class Record:
    """The course of one deploy."""

    environment: str
    rows: dict[Ref, Row] = field(default_factory=dict)  # what became of each object, in the order of the plan
    phases: dict[str, float] = field(default_factory=dict)  # how long each took
    began: float = field(default_factory=time.monotonic)  # when, by the monotonic clock
    outcome: ReleaseResult = ReleaseResult.FAILED
    rolled_back_to: int | None = None  # the release that a failed deploy rolled back to
    # What was done about a failure, not waited for, or is left to do, as sentences.
    aftermath: list[str] = field(default_factory=list)
    # Takes secret values out of what rows say; they quote containers and the cluster.
    blank: Callable[[str], str] = str
    # The last lines that containers of Jobs wrote, by pod and container.
    heard: dict[tuple[str, str], deque[str]] = field(default_factory=dict)

    def plan(self, phase: str, steps: list[Step]) -> None:
        """Enter the steps of a phase."""
        for step in steps:
            self.rows[step.ref] = Row(phase, step.ref, step.action)

    def begin(self, ref: Ref, result: Result, detail: str = "") -> None:
        """An object is being worked on."""
        self.rows[ref].began = time.monotonic()
        self._set(ref, result, detail)

    def note(self, ref: Ref, result: Result, detail: str, count: str) -> None:
        """An object goes on being worked on."""
        self._set(ref, result, detail).count = count

    def end(self, ref: Ref, result: Result, detail: str = "") -> None:
        """An object is done with."""
        row = self._set(ref, result, detail)
        if row.began is not None:
            row.seconds = time.monotonic() - row.began

    def _set(self, ref: Ref, result: Result, detail: str) -> Row:
        row = self.rows[ref]
        row.result, row.detail = result, self.blank(detail)
        return row

    def hear(self, line: LogLine) -> None:
        """A container wrote a line."""
        self.heard.setdefault((line.pod, line.container), deque(maxlen=LINES_HEARD)).append(line.line)

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

    plan: Plan


@dataclass(frozen=True)
class Remembered:
    """What history keeps of the release."""

    facts: dict[str, str]


Event = Began | Ended | Decided | Remembered | PhaseBegan | Told | LogLine | Notice
Tell = Callable[[Event], None]
