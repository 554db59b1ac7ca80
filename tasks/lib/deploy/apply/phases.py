"""Applying a plan phase by phase, each ready before the next begins, and pruning when all is ready."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tasks.lib import signals
from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kinds, discover_with
from tasks.lib.deploy.apply.apply import Acting
from tasks.lib.deploy.events import PhaseBegan, Record, Result, Tell, Told
from tasks.lib.deploy.objects import Ref, is_going, scopes_to_come
from tasks.lib.deploy.plan.decide import PAUSES, get
from tasks.lib.deploy.plan.plan import REMOVAL, Phase, Planned, batches
from tasks.lib.deploy.plan.prune import reason_to_leave
from tasks.lib.deploy.rollout.awaited import Awaited
from tasks.lib.deploy.rollout.judge import Target, previous_run, target_of
from tasks.lib.deploy.rollout.readiness import State, readiness
from tasks.lib.deploy.rollout.wait import Wait
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure


class PhasedApply:
    """The application of one plan, phase by phase.

    Args:
        session: whose record gets a row for each object of the plan.
        planned: what is done.
        seconds: how long all phases together may take, from now on.

    """

    def __init__(self, session: Session, planned: Planned, seconds: float) -> None:
        settings, connection = session.settings, session.connection
        self._session, self._limits, self._deploy = session, settings.time_limits, settings.deploy
        self._record, self._tell = session.record, session.tell
        self._awaited = Awaited(connection, settings.deploy, session.environment.prefix)
        session.began = time.monotonic()
        self._deadline = session.began + seconds
        self._acting = Acting(
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
        """Apply a phase in batches; definitions of kinds are ready before objects of these kinds are sent.

        Raises:
            Failure: something was refused.

        """
        for step in phase[1]:
            if not step.writes:
                skipped = step.action is Action.SKIP
                self._record.end(step.ref, Result.RAN_BEFORE if skipped else Result.UNCHANGED)
        for batch in batches(phase[1]):
            due = [step for step in batch if step.writes]
            if due:
                self._session.lock.require()
            applied = self._acting.apply(due)
            self._stored |= applied
            definitions = [step for step in due if step.ref.kind == "CustomResourceDefinition"]
            if definitions:
                self._wait(definitions)
                brought = scopes_to_come(step.body for step in definitions)
                self._acting.kinds = discover_with(self._acting.api, brought)

    def wait(self, phase: Phase) -> None:
        """Wait until what was applied, and workloads that were not changed, are ready.

        Raises:
            Failure: something failed, or cannot become ready.
            TimedOut: the phase, or all of them together, took longer than the limit.

        """
        self._wait([step for step in phase[1] if self._awaited.includes(step, self._stored.get(step.ref))])

    def prune(self, removals: Sequence[Step]) -> None:
        """Remove what is no longer deployed, now that all is ready.

        Raises:
            Failure: some could not be removed.

        """
        self._record.aftermath += self._awaited.left_in_words()
        if removals:
            with self.timed((REMOVAL, tuple(removals))):
                self._session.lock.require()
                acting, controllers = self._acting, self._deploy.controllers
                Removing(acting.api, acting.kinds, controllers, self._record, self._tell).remove(removals)

    def _wait(self, steps: Sequence[Step]) -> None:
        found = (self._target(step, self._stored.get(step.ref)) for step in steps)
        self._wait_for([target for target in found if target])

    def _wait_for(self, targets: Sequence[Target]) -> None:
        if not targets:
            return
        has_jobs = any(target.ref.is_job for target in targets)
        limit = self._limits.job if has_jobs else self._limits.rollout
        seconds = min(limit, max(self._deadline - time.monotonic(), 0))
        limits = {"scheduling": self._limits.scheduling}
        acting = self._acting
        wait = Wait(acting.api, self._session.namespace, targets, self._record, self._tell, limits)
        wait.until_ready(acting.kinds, seconds)

    def _target(self, step: Step, stored: Json | None) -> Target | None:
        """What to wait for; nothing where the object is ready as it is."""
        live = stored or step.live or {}
        if readiness(live).state is State.READY:
            self._record.end(step.ref, Result.READY if step.writes else Result.UNCHANGED)
            return None
        if not step.writes:
            self._record.begin(step.ref, Result.WAITING)
        return target_of(step, live)


LATER: Final = "Everything is ready; the next deploy tries again to prune the rest."


class Removing:
    """Deletions in one cluster.

    Args:
        controllers: field managers that only complete what others deploy.

    """

    def __init__(
        self, api: Api, kinds: Kinds, controllers: Collection[str], record: Record, tell: Tell
    ) -> None:
        self._api, self._kinds, self._controllers = api, kinds, controllers
        self._record, self._tell = record, tell

    def remove(self, steps: Sequence[Step]) -> None:
        """Remove what may be removed: first what others do not lean on; what is left is told.

        Raises:
            Failure: the cluster refused some; the others are gone.

        """
        first: Failure | None = None
        for batch in reversed(batches(steps)):
            failures = side_by_side(self._remove, batch, CONNECTIONS)
            first = first or next((one for one in failures if one), None)
        if first:
            raise first

    def _remove(self, step: Step) -> Failure | None:
        self._record.begin(step.ref, Result.REMOVING)
        try:
            left = self._left_because(step)
        except Failure as failure:
            self._record.end(step.ref, Result.FAILED, "not removed")
            return failure
        self._record.end(step.ref, Result.LEFT if left else Result.REMOVED)
        self._tell(Told(step.ref, f"left: {left}" if left else "removed"))
        return None

    def _left_because(self, step: Step) -> str:
        """Remove one object; returns why it was left, or nothing."""
        kind = self._kinds.get((step.ref.api_version, step.ref.kind))
        if kind is None:  # its definition was never established, so no object exists
            return ""
        path = kind.path(step.ref.namespace, step.ref.name)
        for pause in PAUSES:
            signals.sleep(pause)
            live = get(self._api, kind, step.ref)
            if live is None or is_going(live):
                return ""
            if reason := reason_to_leave(step, live, self._controllers):
                return reason
            try:
                self._api.request("DELETE", path, doing=f"delete {step.ref}", body=_options(live))
            except ApiError as error:
                if error.status not in {404, 409}:
                    raise
            else:
                return ""
        return "it keeps changing"


def _options(live: Json) -> Json:
    metadata = live["metadata"]
    return {
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
    }  # fmt: skip
