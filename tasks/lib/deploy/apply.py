"""Applying a plan phase by phase, each ready before the next begins, and pruning when all is ready."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tasks.lib import signals
from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kind, Kinds, discover_with
from tasks.lib.deploy.events import PhaseBegan, Record, Result, Tell, Told
from tasks.lib.deploy.objects import Ref, is_going, scopes_to_come
from tasks.lib.deploy.plan import takeover
from tasks.lib.deploy.plan.decide import PAUSES, get
from tasks.lib.deploy.plan.field_managers import Conflict, bare, found_in, not_ours, options, without
from tasks.lib.deploy.plan.plan import REMOVAL, Phase, Planned, batches, unknown_kind
from tasks.lib.deploy.plan.prune import reason_to_leave
from tasks.lib.deploy.rollout.awaited import Awaited
from tasks.lib.deploy.rollout.judge import Target, previous_run, target_of
from tasks.lib.deploy.rollout.readiness import State, readiness
from tasks.lib.deploy.rollout.wait import Wait
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure, TimedOut

LATER: Final = "Everything is ready; the next deploy tries again to prune the rest."
SPOKEN: Final = {
    Action.CREATE: "created",
    Action.CHANGE: "changed",
    Action.RECREATE: "recreated",
    Action.RUN: "started",
}


class PhasedApply:
    """The application of one plan, phase by phase: all of them together may take so many seconds from now on.

    The session's record gets a row for each object.
    """

    def __init__(self, session: Session, planned: Planned, seconds: float) -> None:
        settings, connection = session.settings, session.connection
        self._session, self._limits, self._deploy = session, settings.time_limits, settings.deploy
        self._record, self._tell = session.record, session.tell
        self._awaited = Awaited(connection, settings.deploy, session.environment.prefix)
        session.began = time.monotonic()
        self._deadline = session.began + seconds
        self._writer = Writer(
            connection.api.assured(),
            connection.kinds,
            planned.forced,
            settings.deploy.predecessors,
            self._record,
            self._tell,
            self._limits.rollout,
            session.lock.require,
        )
        self._stored: dict[Ref, Json] = {}
        for title, steps in (*planned.phases, (REMOVAL, planned.removals)):
            self._record.plan(title, list(steps))

    @contextmanager
    def timed(self, phase: Phase) -> Iterator[None]:
        """Tell that a phase begins, and record how long it took."""
        title, began = phase[0], time.monotonic()
        self._tell(PhaseBegan(title))
        try:
            yield
        finally:
            self._record.phases[title] = time.monotonic() - began

    def wait_for_previous_runs(self, phase: Phase) -> None:
        """Wait until the Jobs of earlier deploys that this phase replaces have ended."""
        targets = [target for step in phase[1] if step.writes and (target := previous_run(step))]
        for target in targets:
            self._record.begin(target.ref, Result.WAITING, "the previous run has to end first")
        self._wait_for(targets)

    def apply(self, phase: Phase) -> None:
        """Apply a phase in batches; definitions of kinds are ready before objects of these kinds are sent."""
        for step in phase[1]:
            if not step.writes:
                skipped = step.action is Action.SKIP
                self._record.end(step.ref, Result.RAN_BEFORE if skipped else Result.UNCHANGED)
        for batch in batches(phase[1]):
            due = [step for step in batch if step.writes]
            if due:
                self._session.lock.require()
            self._stored |= self._writer.apply(due)
            definitions = [step for step in due if step.ref.kind == "CustomResourceDefinition"]
            if definitions:
                self._wait(definitions)
                brought = scopes_to_come(step.body for step in definitions)
                self._writer.kinds = discover_with(self._writer.api, brought)

    def wait(self, phase: Phase) -> None:
        """Wait until what was applied, and workloads that were not changed, are ready.

        Raises Failure where something failed, or cannot become ready; TimedOut where the phase, or all of
        them together, took longer than the limit.
        """
        self._wait([step for step in phase[1] if self._awaited.includes(step, self._stored.get(step.ref))])

    def prune(self, removals: Sequence[Step]) -> None:
        """Remove what is no longer deployed, now that all is ready; raises Failure where that is refused."""
        self._record.aftermath += self._awaited.left_in_words()
        if removals:
            with self.timed((REMOVAL, tuple(removals))):
                self._session.lock.require()
                self._writer.prune(removals, self._deploy.controllers)

    def _wait(self, steps: Sequence[Step]) -> None:
        found = (self._target(step, self._stored.get(step.ref)) for step in steps)
        self._wait_for([target for target in found if target])

    def _wait_for(self, targets: Sequence[Target]) -> None:
        if not targets:
            return
        has_jobs = any(target.ref.is_job for target in targets)
        limit = self._limits.job if has_jobs else self._limits.rollout
        seconds = min(limit, max(self._deadline - time.monotonic(), 0))
        writer, limits = self._writer, {"scheduling": self._limits.scheduling}
        wait = Wait(writer.api, self._session.namespace, targets, self._record, self._tell, limits)
        wait.until_ready(writer.kinds, seconds)

    def _target(self, step: Step, stored: Json | None) -> Target | None:
        """What to wait for; nothing where the object is ready as it is."""
        live = stored or step.live or {}
        if readiness(live).state is State.READY:
            self._record.end(step.ref, Result.READY if step.writes else Result.UNCHANGED)
            return None
        if not step.writes:
            self._record.begin(step.ref, Result.WAITING)
        return target_of(step, live)


@dataclass
class Writer:
    """Writes to one cluster."""

    api: Api
    kinds: Kinds  # what it serves; replaced when the deploy itself brings new kinds
    forced: Mapping[Ref, tuple[Conflict, ...]]  # conflicts that were found to be ours to resolve
    predecessors: Sequence[str]  # field managers whose records become ours
    record: Record
    tell: Tell
    seconds: float  # how long what is deleted may take to be gone
    guard: Callable[[], None] = lambda: None  # called then; raises where nothing more may be changed
    interrupted: threading.Event = field(default_factory=threading.Event)

    def apply(self, steps: Sequence[Step]) -> dict[Ref, Json]:
        """Carry out steps that do not depend on one another; returns the objects as the server stored them.

        The first refusal, which is raised, keeps what has not begun from beginning; what has is waited for,
        so that the record is right.
        """
        return dict(side_by_side(self._apply, steps, CONNECTIONS, self._interrupt))

    def prune(self, steps: Sequence[Step], controllers: Collection[str]) -> None:
        """Remove what may be removed: first what others do not lean on; what is left is told.

        `controllers` are field managers that only complete what others deploy.  The first refusal is raised
        once the others are gone.
        """
        first: Failure | None = None
        for batch in reversed(batches(steps)):
            failures = side_by_side(lambda step: self._prune(step, controllers), batch, CONNECTIONS)
            first = first or next((one for one in failures if one), None)
        if first:
            raise first

    def _interrupt(self) -> None:
        """Begin nothing more, and end what waits for the cluster: that may take minutes."""
        self.interrupted.set()
        self.api.close()

    def _apply(self, step: Step) -> tuple[Ref, Json]:
        try:
            stored = self._carry_out(step)
        except Failure:
            self.record.end(step.ref, Result.FAILED, "refused")
            raise
        self.record.end(step.ref, Result.APPLIED)
        self.tell(Told(step.ref, SPOKEN[step.action]))
        return step.ref, stored

    def _carry_out(self, step: Step) -> Json:
        self._require_uninterrupted(step)
        self.record.begin(step.ref, Result.APPLYING)
        if step.action is Action.RECREATE or (step.action is Action.RUN and step.live):
            self._remove(step)
            self.guard()
            self._require_uninterrupted(step)
        kind = self.kinds.get(step.ref.key)
        if kind is None:
            raise unknown_kind(step.ref, self.kinds)
        path = kind.path(step.ref.namespace, step.ref.name)
        if step.action is Action.CHANGE:
            takeover.take_over(self.api, path, step, self.predecessors)
        return self._apply_one(step, path)

    def _require_uninterrupted(self, step: Step) -> None:
        """Check that the deploy was not interrupted."""
        if self.interrupted.is_set():
            raise Failure(f"{step.ref} was not applied: this deploy was interrupted.")

    def _apply_one(self, step: Step, path: str) -> Json:
        """Apply an object; force takes over all that others own, so it is used once all of that is known."""
        doing = f"apply {step.ref}"
        try:
            return self.api.apply(path, step.body, doing=doing)
        except ApiError as error:
            found = found_in(step.ref, error)
            if not found:
                raise
            ours = {bare(conflict.named) for conflict in self.forced.get(step.ref, ())}
            others = not_ours(found, self.predecessors, ours)
            if others and all(conflict.field in step.yields for conflict in others):
                return self.api.apply(path, without(step.body, others) or step.body, doing=doing)
            if others:
                raise Failure(
                    f"{step.ref} was changed by somebody else during this deploy.",
                    "\n".join(map(str, others)),
                    f"Take these fields over as well with {options(others)}, "
                    "or put their current values into the manifests.",
                ) from error
            return self.api.apply(path, step.body, doing=doing, query={"force": "true"})

    def _remove(self, step: Step) -> None:
        """Delete the very object that was observed, and wait until it and what it owns are gone."""
        if is_going(step.live or {}):  # its deletion may keep its pods
            self.tell(Told(step.ref, "is being deleted: waiting until it is gone"))
        else:
            kind = self.kinds[step.ref.key]
            self._delete(kind, step, step.live or {}, "Foreground")
        self._await_absence(step)

    def _prune(self, step: Step, controllers: Collection[str]) -> Failure | None:
        self.record.begin(step.ref, Result.REMOVING)
        try:
            left = self._left_because(step, controllers)
        except Failure as failure:
            self.record.end(step.ref, Result.FAILED, "not removed")
            return failure
        self.record.end(step.ref, Result.LEFT if left else Result.REMOVED)
        self.tell(Told(step.ref, f"left: {left}" if left else "removed"))
        return None

    def _left_because(self, step: Step, controllers: Collection[str]) -> str:
        """Remove one object; returns why it was left, or nothing."""
        kind = self.kinds.get(step.ref.key)
        if kind is None:  # its definition was never established, so no object exists
            return ""
        for pause in PAUSES:
            signals.sleep(pause)
            live = get(self.api, kind, step.ref)
            if live is None or is_going(live):
                return ""
            if reason := reason_to_leave(step, live, controllers):
                return reason
            if self._delete(kind, step, live, "Background", "resourceVersion"):
                return ""
        return "it keeps changing"

    def _delete(self, kind: Kind, step: Step, live: Json, propagation: str, *also_same: str) -> bool:
        """Delete an object as long as this metadata is as in `live`; returns False where it is not."""
        options = {
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
            "preconditions": {name: live["metadata"][name] for name in ("uid", *also_same)},
        }  # fmt: skip
        try:
            path = kind.path(step.ref.namespace, step.ref.name)
            self.api.request("DELETE", path, doing=f"delete {step.ref}", body=options)
        except ApiError as error:
            if error.status not in {404, 409}:  # gone already, or another of the same name took its place
                raise
            return False
        return True

    def _await_absence(self, step: Step) -> None:
        """Follow the object until it is gone."""
        kind = self.kinds[step.ref.key]
        uid = (step.live or {})["metadata"]["uid"]
        deadline = time.monotonic() + self.seconds
        while (there := get(self.api, kind, step.ref)) and there["metadata"]["uid"] == uid:
            self._require_uninterrupted(step)
            if time.monotonic() > deadline:
                held = ", ".join(there["metadata"].get("finalizers") or []) or "none"
                raise TimedOut(
                    f"{step.ref} was deleted but does not go away.", f"Its finalizers: {held}.",
                    step.ref.command("describe"),
                )  # fmt: skip
            self._watch_once(kind.path(step.ref.namespace), step.ref, there["metadata"]["resourceVersion"])

    def _watch_once(self, path: str, ref: Ref, version: str) -> None:
        """Sleep until something happens to the object, at most five seconds."""
        query = {
            "watch": "true", "fieldSelector": f"metadata.name={ref.name}", "resourceVersion": version,
            "timeoutSeconds": "5",
        }  # fmt: skip
        try:
            for _ in self.api.lines(path, query=query, idle=10):
                return
        except Failure:
            time.sleep(0.2)  # the loop around this asks again and reports a lasting error
