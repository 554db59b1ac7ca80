"""Applying a plan phase by phase: each phase is ready before the next begins."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.connection import Connection
from tasks.lib.cluster.kinds import discover_with
from tasks.lib.deploy.apply.apply import Acting
from tasks.lib.deploy.apply.remove import Removing
from tasks.lib.deploy.events import DEPLOYED, PhaseBegan, Record, Tell
from tasks.lib.deploy.objects import Ref, scopes_to_come
from tasks.lib.deploy.plan.decide import Action, Step
from tasks.lib.deploy.plan.phases import ranks
from tasks.lib.deploy.plan.plan import REMOVAL, Planned
from tasks.lib.deploy.rollout.awaited import Awaited
from tasks.lib.deploy.rollout.judge import Target, previous_run, target_of
from tasks.lib.deploy.rollout.readiness import State, readiness
from tasks.lib.deploy.rollout.wait import Wait

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings


class PhasedApply:
    """The application of one plan.

    Args:
        settings: for the time limits.
        environment: whose namespace the workloads are in.
        connection: the cluster.
        record: is told what becomes of each object.
        tell: is told what happens.
        guard: called before each batch of writes; raises where nothing more may be changed.
        seconds: how long all of it may take; by default what settings say of a deploy.
        before: called with the steps of each phase before they begin; raises to keep them from it.

    """

    def __init__(
        self,
        settings: "Settings",
        environment: "Environment",
        connection: Connection,
        record: Record,
        tell: Tell,
        guard: Callable[[], None] = lambda: None,
        seconds: float = 0,
        before: Callable[[Sequence[Step]], None] = lambda steps: None,
    ) -> None:
        self._limits, self._namespace = settings.time_limits, environment.namespace
        self._connection, self._record, self._tell = connection, record, tell
        self._guard, self._before = guard, before
        self._deploy = settings.deploy
        self._awaited = Awaited(connection, settings.deploy, environment.prefix)
        self._deadline = time.monotonic() + (seconds or settings.time_limits.deploy)

    def run(self, planned: Planned) -> None:
        """Apply each phase and wait until it is ready before the next begins.

        Raises:
            Failure: something was refused, failed, or never becomes ready.
            TimedOut: a phase, or the whole, took longer than its limit.

        """
        connection = self._connection
        acting = Acting(
            connection.api.assured(),
            connection.kinds,
            planned.forced,
            self._deploy.predecessors,
            self._record,
            self._tell,
            self._limits.rollout,
            self._guard,
        )
        for title, steps in planned.phases:
            self._record.plan(title, list(steps))
        self._record.plan(REMOVAL, list(planned.removals))
        for title, steps in planned.phases:
            with self._timed(title):
                self._await_previous_runs(acting, steps)
                self._before(steps)
                self._phase(acting, steps)
        self._record.outcome = DEPLOYED
        self._record.aftermath += self._awaited.left_in_words()
        if planned.removals:
            with self._timed(REMOVAL):
                self._guard()
                controllers = self._deploy.controllers
                removing = Removing(acting.api, acting.kinds, controllers, self._record, self._tell)
                removing.remove(planned.removals)

    @contextmanager
    def _timed(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        self._tell(PhaseBegan(title))
        try:
            yield
        finally:
            self._record.phases[title] = time.monotonic() - began

    def _phase(self, acting: Acting, steps: Sequence[Step]) -> None:
        stored: dict[Ref, Json] = {}
        by_ref = {step.ref: step for step in steps}
        for step in steps:
            if not step.writes:
                self._record.end(step.ref, "ran before" if step.action is Action.SKIP else "unchanged")
        for batch in ranks([step.wanted for step in steps]):
            due = [step for w in batch if (step := by_ref[w.ref]).writes]
            if due:
                self._guard()
            applied = acting.apply(due)
            stored |= applied
            definitions = [step for step in due if step.ref.kind == "CustomResourceDefinition"]
            if definitions:
                self._wait(acting, definitions, applied)
                acting.kinds = discover_with(acting.api, scopes_to_come(step.body for step in definitions))
        waited = [step for step in steps if self._awaited.includes(step, stored.get(step.ref))]
        self._wait(acting, waited, stored)

    def _await_previous_runs(self, acting: Acting, steps: Sequence[Step]) -> None:
        targets = [target for step in steps if step.writes and (target := previous_run(step))]
        for target in targets:
            self._record.begin(target.ref, "waiting for the previous run to end")
        self._wait_for(acting, targets)

    def _wait(self, acting: Acting, steps: Sequence[Step], stored: Mapping[Ref, Json]) -> None:
        found = (self._target(step, stored.get(step.ref)) for step in steps)
        self._wait_for(acting, [target for target in found if target])

    def _wait_for(self, acting: Acting, targets: Sequence[Target]) -> None:
        if not targets:
            return
        has_jobs = any(target.ref.is_job for target in targets)
        limit = self._limits.job if has_jobs else self._limits.rollout
        seconds = min(limit, max(self._deadline - time.monotonic(), 0))
        limits = {"scheduling": self._limits.scheduling}
        wait = Wait(acting.api, self._namespace, targets, self._record, self._tell, limits)
        wait.until_ready(acting.kinds, seconds)

    def _target(self, step: Step, stored: Json | None) -> Target | None:
        """What to wait for; nothing where the object is ready as it is."""
        live = stored or step.live or {}
        if readiness(live).state is State.READY:
            self._record.end(step.ref, "ready" if step.writes else "unchanged, ready")
            return None
        if not step.writes:
            self._record.begin(step.ref, "waiting")
        return target_of(step, live)
