"""Applying a plan phase by phase, each ready before the next begins, and pruning when all is ready."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.kinds import discover_with
from tasks.lib.deploy.apply.apply import Writer
from tasks.lib.deploy.events import PhaseBegan, Result
from tasks.lib.deploy.objects import Ref, scopes_to_come
from tasks.lib.deploy.plan.plan import REMOVAL, Phase, Planned, batches
from tasks.lib.deploy.rollout.awaited import Awaited
from tasks.lib.deploy.rollout.judge import Target, previous_run, target_of
from tasks.lib.deploy.rollout.readiness import State, readiness
from tasks.lib.deploy.rollout.wait import Wait
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Action, Step


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
