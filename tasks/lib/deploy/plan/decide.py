"""What to do with each object: a pure function of what is wanted and what is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import (
    APPLIED,
    RAN,
    Ref,
    Wanted,
    annotated,
    contains,
    is_going,
    job_fingerprint,
)
from tasks.lib.deploy.rollout.readiness import job_outcome, still_runs


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


CHANGED: Final = "its image or configuration changed"
WRITES: Final = frozenset({Action.CREATE, Action.CHANGE, Action.RECREATE, Action.RUN, Action.DELETE})


@dataclass(frozen=True)
class Step:
    """One object and what is done with it.

    Args:
        wanted: the object as it should be.
        action: what is done.
        reason: why, for people; empty where it goes without saying.
        body: what is sent, this project's annotations included.
        live: the object as it was found, if it was.
        yields: fields that are left to whoever sets them in the meantime.

    """

    wanted: Wanted
    action: Action
    reason: str
    body: Json
    live: Json | None = None
    yields: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        """The object's name."""
        return self.wanted.ref

    @property
    def writes(self) -> bool:
        """Whether it changes the cluster."""
        return self.action in WRITES

    def with_action(self, action: Action, reason: str) -> "Step":
        """The same object, treated otherwise."""
        return replace(self, action=action, reason=reason)


def decide(objects: Sequence[Wanted], live: Mapping[Ref, Json], *, run_jobs: bool) -> list[Step]:
    """Decide about every object, in the same order.

    Args:
        objects: all that is wanted.
        live: what the cluster has of it.
        run_jobs: run Jobs even where nothing that they read has changed.

    """
    return [
        _about_job(w, live.get(w.ref), objects, run_jobs=run_jobs)
        if w.ref.is_job
        else _about_object(w, live.get(w.ref))
        for w in objects
    ]


def corrected(step: Step, result: Json) -> Step:
    """The step after its dry run: a change that changes nothing is none."""
    if step.action is Action.CHANGE and step.live and _essence(step.live) == _essence(result):
        return step.with_action(Action.KEEP, "")
    return step


def _essence(thing: Json) -> Json:
    dropped = {"managedFields", "resourceVersion", "generation"}
    return {**thing, "metadata": {k: v for k, v in thing["metadata"].items() if k not in dropped}}


def _about_object(w: Wanted, there: Json | None) -> Step:
    body = annotated(w.body, {APPLIED: w.digest})
    if there is None:
        return Step(w, Action.CREATE, "", body)
    if is_going(there):
        return Step(w, Action.RECREATE, "the present one is being deleted", body, there)
    applied = (there["metadata"].get("annotations") or {}).get(APPLIED)
    if applied is None:
        return Step(w, Action.CHANGE, "not yet managed by this tool", body, there)
    if applied != w.digest:
        return Step(w, Action.CHANGE, "", body, there)
    if not contains(there, body):
        return Step(w, Action.CHANGE, "was changed by something else since", body, there)
    return Step(w, Action.KEEP, "", body, there)


def _about_job(w: Wanted, there: Json | None, objects: Sequence[Wanted], *, run_jobs: bool) -> Step:
    digest = job_fingerprint(w.body, objects)
    body = annotated(w.body, {APPLIED: w.digest, RAN: digest})
    action, reason = _job_action(there, digest, run_jobs=run_jobs)
    return Step(w, action, reason, body, there)


def _job_action(there: Json | None, digest: str, *, run_jobs: bool) -> tuple[Action, str]:
    if there is None:
        return Action.RUN, "there is none yet"
    outcome = job_outcome(there)
    is_other = (there["metadata"].get("annotations") or {}).get(RAN) != digest
    reasons = {
        f"{CHANGED}; the previous run is still running: waiting for it": is_other and still_runs(there),
        CHANGED: is_other,
        "the last one is being deleted": is_going(there),
        "it failed the last time": outcome == "Failed",
        "asked for with --jobs": run_jobs and outcome == "Complete",
    }
    if reason := next((text for text, holds in reasons.items() if holds), ""):
        return Action.RUN, reason
    if outcome == "":
        return Action.AWAIT, "it is still running"
    return Action.SKIP, "ran already with this image and configuration"
