"""What is done with each object, and the plan of it as people and programs read it."""

import textwrap
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import Ref, Wanted


class Action(StrEnum):
    """What is done with an object; the value is how a plan spells it."""

    CREATE = "create"
    CHANGE = "change"
    RECREATE = "recreate"
    RUN = "run"
    AWAIT = "await"
    SKIP = "skip"
    DELETE = "delete"
    LEAVE = "leave"
    KEEP = "unchanged"


WRITES: Final = frozenset({Action.CREATE, Action.CHANGE, Action.RECREATE, Action.RUN, Action.DELETE})


@dataclass(frozen=True)
class Step:
    """One object and what is done with it."""

    wanted: Wanted
    action: Action
    reason: str  # why, for people; empty where it goes without saying
    body: Json  # what is sent, this project's annotations included
    live: Json | None = None  # the object as it was found, if it was
    yields: tuple[str, ...] = ()  # fields that are left to whoever sets them in the meantime

    @property
    def ref(self) -> Ref:
        """The object's name."""
        return self.wanted.ref

    @property
    def writes(self) -> bool:
        """Whether it changes the cluster."""
        return self.action in WRITES

    def with_action(self, action: Action, reason: str) -> "Step":
        """The same object with another action."""
        return replace(self, action=action, reason=reason)


@dataclass(frozen=True)
class Change:
    """One field that differs; `None` stands for absent, texts are as they are shown."""

    field: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.field}: {self.after}"
        if self.after is None:
            return f"- {self.field}: {self.before}"
        return f"~ {self.field}: {self.before} → {self.after}"

    @property
    def lines(self) -> list[str]:
        """The change as lines: those of a longer text are indented below its field."""
        texts = [text for text in (self.before, self.after) if text is not None]
        if not any("\n" in text for text in texts):
            return [str(self)]
        first, *second = (textwrap.indent(text, "    ").splitlines() for text in texts)
        then = ["  →", *second[0]] if second else []
        return [f"{str(self)[0]} {self.field}:", *first, *then]


@dataclass(frozen=True)
class Entry:
    """One object of the plan as it is shown."""

    phase: str  # the title of its phase
    kind: str
    name: str
    namespace: str
    action: str
    reason: str
    changes: tuple[Change, ...]
    seal: str  # a fingerprint of what is wanted and of what is there

    @property
    def writes(self) -> bool:
        """Whether the object would be written."""
        return Action(self.action) in WRITES


@dataclass(frozen=True)
class Plan:
    """What a deploy of one environment would do."""

    environment: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    @property
    def due(self) -> list[Entry]:
        """The entries that would be written."""
        return [entry for entry in self.entries if entry.writes]

    @property
    def told(self) -> list[Entry]:
        """The entries that there is something to say of: due, waited for, or left against expectation."""
        return [
            entry for entry in self.entries if entry.writes or entry.action in {Action.AWAIT, Action.LEAVE}
        ]
