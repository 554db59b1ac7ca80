"""One deploy on one cluster, from named objects to a healthy system: plan, then carry out phase by phase."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tasks.lib.cluster import permissions
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.connection import Connection
from tasks.lib.cluster.kinds import Kinds, discover_with
from tasks.lib.deploy.apply.apply import Acting, unknown_kind
from tasks.lib.deploy.apply.remove import Removing
from tasks.lib.deploy.events import DEPLOYED, PhaseBegan, Record, Tell
from tasks.lib.deploy.objects import Ref, Wanted, scopes_to_come
from tasks.lib.deploy.plan import autoscaling, dry_run
from tasks.lib.deploy.plan.conflicts import Conflict, bare
from tasks.lib.deploy.plan.decide import Action, Step, decide
from tasks.lib.deploy.plan.observe import observe
from tasks.lib.deploy.plan.ownership import labelled
from tasks.lib.deploy.plan.phases import arrange, ranks
from tasks.lib.deploy.rollout import earlier_jobs
from tasks.lib.deploy.rollout.awaited import Awaited, may_be_awaited
from tasks.lib.deploy.rollout.diagnosis import written
from tasks.lib.deploy.rollout.readiness import State, standing
from tasks.lib.deploy.rollout.target import Target
from tasks.lib.deploy.rollout.wait import Wait, places_to_watch

if TYPE_CHECKING:
    from tasks.lib.settings.deploy import Deploy
    from tasks.lib.settings.model import Environment, Settings

REMOVAL: Final = "removal of what is not deployed any more"


@dataclass(frozen=True)
class Planned:
    """What a deploy will do.

    Args:
        phases: the title and the steps of each phase, in order.
        forced: the conflicts that were found to be ours to resolve, by object.
        results: the objects as the dry run says they would be.
        removals: what is removed when all is ready.
        left: what is not deployed any more and stays all the same, with the reason.
        others: what carries our label and is not deployed any more.
        conceded: the conflicts whose fields are left to the other managers, by object.

    """

    phases: tuple[tuple[str, tuple[Step, ...]], ...]
    forced: Mapping[Ref, tuple[Conflict, ...]]
    results: Mapping[Ref, Json]
    removals: tuple[Step, ...] = ()
    left: tuple[Step, ...] = ()
    others: Mapping[Ref, Json] = field(default_factory=dict)
    conceded: Mapping[Ref, tuple[Conflict, ...]] = field(default_factory=dict)

    @property
    def steps(self) -> list[Step]:
        """All steps in order, without removals."""
        return [step for _, steps in self.phases for step in steps]

    @property
    def live_secrets(self) -> list[Json]:
        """The Secrets that earlier releases left in the cluster."""
        found = [*(step.live for step in self.steps), *self.others.values()]
        return [thing for thing in found if thing and thing.get("kind") == "Secret"]


@dataclass(frozen=True)
class Choices:
    """What the caller chose.

    Args:
        run_jobs: run Jobs even where nothing that they read has changed.
        force_conflicts: `Kind/name:field` to take over from other managers.
        prune: remove what earlier releases deployed and this one does not.
        backup: back the database up before a migration, where settings say so.
        exhaustive: have the cluster try every change, also where its answer can be foretold.
        concede: leave fields that other managers own to them, instead of refusing all.

    """

    run_jobs: bool = False
    force_conflicts: tuple[str, ...] = ()
    prune: bool = False
    backup: bool = True
    exhaustive: bool = False
    concede: bool = False

    def __post_init__(self) -> None:
        """Refuse what names no field before anything else is done."""
        for named in self.force_conflicts:
            bare(named)


def plan(
    settings: "Settings",
    environment: "Environment",
    connection: Connection,
    objects: Sequence[Wanted],
    choices: Choices,
) -> Planned:
    """Find out what has to be done; nothing in the cluster changes.

    Raises:
        Failure: permissions are missing, or the cluster would refuse some of it.

    """
    api, kinds = connection.api, connection.kinds
    _require_kinds(objects, kinds)
    permissions.require(api, needed(connection, environment, objects, settings.deploy))
    objects = [labelled(w, environment.namespace) for w in objects]
    live = observe(api, kinds, objects, environment.namespace)
    steps = decide(objects, live, run_jobs=choices.run_jobs)
    steps = autoscaling.settled(connection, steps, objects, settings.deploy.predecessors)
    trial = dry_run.Rehearsal(
        api,
        kinds,
        settings.deploy.predecessors,
        choices.force_conflicts,
        environment.namespace,
        concedes=choices.concede,
    )
    tried = trial.run(steps) if choices.exhaustive else trial.run_sparingly(steps)
    dry_run.require(tried, earlier_jobs.faults(api, steps, settings.time_limits.job))
    by_ref = {t.step.ref: t.step for t in tried}
    groups = arrange(objects, settings.deploy.phases, environment.prefix)
    return Planned(
        tuple((group.title, tuple(by_ref[w.ref] for w in group.objects)) for group in groups),
        {t.step.ref: t.forced for t in tried if t.forced},
        {t.step.ref: t.result for t in tried if t.result},
        others={ref: thing for ref, thing in live.items() if ref not in by_ref},
        conceded={t.step.ref: t.conceded for t in tried if t.conceded},
    )


class Course:
    """The carrying out of one plan.

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
            Failure: something was refused, failed or is doomed.
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
                self._await_earlier_runs(acting, steps)
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

    def _await_earlier_runs(self, acting: Acting, steps: Sequence[Step]) -> None:
        targets = [target for step in steps if step.writes and (target := earlier_jobs.target(step))]
        for target in targets:
            self._record.begin(target.ref, "waiting for the end of the run before")
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
        if standing(live).state is State.READY:
            self._record.end(step.ref, "ready" if step.writes else "unchanged, ready")
            return None
        if not step.writes:
            self._record.begin(step.ref, "waiting")
        since = written(live) if step.writes else ""
        return Target(step.ref, live["metadata"]["uid"], live["metadata"].get("generation", 0), since)


def needed(
    connection: Connection, environment: "Environment", objects: Sequence[Wanted], deploy: "Deploy"
) -> list[permissions.Permission]:
    """Every permission that deploying `objects` with these settings takes."""
    kinds = connection.kinds
    used = {
        (kinds[key], w.ref.namespace) for w in objects if (key := (w.ref.api_version, w.ref.kind)) in kinds
    }
    own = permissions.needed(used, environment.namespace)
    places = places_to_watch(w.ref for w in objects if may_be_awaited(w.ref, deploy))
    watched = permissions.to_watch((kinds[key], namespace) for key, namespace in places if key in kinds)
    return sorted({*own, *watched, *permissions.handed_on(w.body for w in objects)})


def _require_kinds(objects: Sequence[Wanted], kinds: Kinds) -> None:
    """Check that the cluster serves every kind, or that the deploy brings it.

    Raises:
        Failure: a kind is unknown.

    """
    brought = scopes_to_come(w.body for w in objects)
    for w in objects:
        key = (w.ref.api_version, w.ref.kind)
        if key not in kinds and key not in brought:
            raise unknown_kind(w.ref, kinds)
