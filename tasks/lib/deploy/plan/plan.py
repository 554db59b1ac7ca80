"""Making the plan of one deploy: every object, what is done with it and in which phase."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from tasks.lib.cluster import rbac
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.cluster.kinds import Kinds
from tasks.lib.deploy.objects import Ref, Wanted, scopes_to_come
from tasks.lib.deploy.plan import autoscaling, dry_run, readers
from tasks.lib.deploy.plan.decide import decide, observe
from tasks.lib.deploy.plan.field_managers import Conflict, bare, labelled
from tasks.lib.deploy.rollout.awaited import may_be_awaited, stuck_jobs
from tasks.lib.deploy.rollout.wait import places_to_watch
from tasks.lib.deploy.steps import Step
from tasks.lib.errors import Failure
from tasks.lib.settings import deploy as settings_of
from tasks.lib.settings.model import Environment, Settings

Phase = tuple[str, tuple[Step, ...]]  # its title and its steps
REMOVAL: Final = "prune"
WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob", "ReplicaSet", "Pod"})
# Others lean on these: kinds before their objects, accounts before the tokens that belong to them.
FIRST: Final = frozenset({"Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass"})
SECOND: Final = frozenset({"ServiceAccount", "ConfigMap", "Role", "ClusterRole"})


@dataclass
class Destination:
    """Where objects go: an environment's cluster, with the settings in force."""

    settings: Settings
    environment: Environment
    connection: Connection

    @property
    def api(self) -> Api:
        """The cluster's API server."""
        return self.connection.api

    @property
    def namespace(self) -> str:
        """The environment's namespace."""
        return self.environment.namespace

    @property
    def owner(self) -> str:
        """The value of our label on the objects."""
        return self.namespace


@dataclass(frozen=True)
class Planned:
    """What a deploy will do."""

    phases: tuple[Phase, ...]  # in order
    # The conflicts that may be resolved by taking the fields over, by object.
    forced: Mapping[Ref, tuple[Conflict, ...]]
    results: Mapping[Ref, Json]  # the objects as the dry run says they would be
    removals: tuple[Step, ...] = ()  # what is removed when all is ready
    left: tuple[Step, ...] = ()  # what is no longer deployed and kept all the same, with the reason
    # What carries our label and is no longer deployed.
    others: Mapping[Ref, Json] = field(default_factory=dict)
    # The conflicts whose fields are left to the other managers, by object.
    conceded: Mapping[Ref, tuple[Conflict, ...]] = field(default_factory=dict)
    # Which workloads read what changes and do not restart, as sentences; to know before and after.
    not_restarted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what else to know before it is approved, as sentences

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
    """What the caller chose."""

    run_jobs: bool = False  # run Jobs even where nothing that they read has changed
    force_conflicts: tuple[str, ...] = ()  # `Kind/name:field` to take over from other managers
    prune: bool = False  # remove what earlier releases deployed and this one does not
    backup: bool = True  # back the database up before a migration, where settings say so
    concede: bool = False  # leave fields that other managers own to them, instead of refusing all

    def __post_init__(self) -> None:
        """Refuse what names no field before anything else is done."""
        for named in self.force_conflicts:
            bare(named)


def make(to: Destination, objects: Sequence[Wanted], choices: Choices) -> Planned:
    """Find out what has to be done; nothing changes.  Raises Failure where the cluster would refuse some."""
    settings, kinds = to.settings, to.connection.kinds
    _require_kinds(objects, kinds)
    rbac.require(to.api, needed(to, objects))
    objects = [labelled(w, to.owner) for w in objects]
    live = observe(to.api, kinds, objects, to.owner)
    steps = decide(objects, live, run_jobs=choices.run_jobs)
    steps = autoscaling.settled(to.connection, steps, objects, settings.deploy.predecessors)
    trial = dry_run.DryRuns(
        to.api,
        kinds,
        settings.deploy.predecessors,
        choices.force_conflicts,
        to.namespace,
        concedes=choices.concede,
    )
    tried = trial.run(steps)
    dry_run.require(tried, stuck_jobs(to.api, steps, settings.time_limits.job))
    deployed = {w.ref for w in objects}
    steps = [t.step for t in tried]
    results = {t.step.ref: t.result for t in tried if t.result}
    return Planned(
        arrange(steps, settings.deploy.phases, to.environment.prefix),
        {t.step.ref: t.forced for t in tried if t.forced},
        results,
        others={ref: thing for ref, thing in live.items() if ref not in deployed},
        conceded={t.step.ref: t.conceded for t in tried if t.conceded},
        not_restarted=tuple(readers.not_restarted(steps, results)),
    )


def needed(to: Destination, objects: Sequence[Wanted]) -> list[rbac.Permission]:
    """Every permission that deploying `objects` takes."""
    kinds, deploy = to.connection.kinds, to.settings.deploy
    used = {(kinds[key], w.ref.namespace) for w in objects if (key := w.ref.key) in kinds}
    own = rbac.needed(used, to.namespace)
    places = places_to_watch(w.ref for w in objects if may_be_awaited(w.ref, deploy))
    watched = rbac.to_watch((kinds[key], namespace) for key, namespace in places if key in kinds)
    return sorted({*own, *watched, *rbac.granted_by(w.body for w in objects)})


def arrange(steps: Sequence[Step], phases: Sequence[settings_of.Phase], prefix: str) -> tuple[Phase, ...]:
    """Put each object into its phase; phases without objects are left out.

    `Kind/name` in a phase wins over `Kind`.  A kind that no phase names goes with the last phase that takes
    Deployments if it runs pods, else into the first phase.

    `prefix` is what the overlay puts before names, and phases leave out.
    """
    places = [_place(step.ref, phases, prefix) for step in steps]
    return tuple(
        (phase.title, tuple(sorted(chosen, key=rank)))
        for number, phase in enumerate(phases)
        if (chosen := [step for step, place in zip(steps, places, strict=True) if place == number])
    )


def rank(step: Step) -> int:
    """The place of an object's kind within its phase: 0, 1 or 2."""
    return 0 if step.ref.kind in FIRST else 1 if step.ref.kind in SECOND else 2


def batches(steps: Iterable[Step]) -> list[list[Step]]:
    """The steps of one phase in batches; those of a batch may be carried out at the same time."""
    return [list(batch) for _, batch in groupby(sorted(steps, key=rank), key=rank)]


def _place(ref: Ref, phases: Sequence[settings_of.Phase], prefix: str) -> int:
    bare = ref.name.removeprefix(prefix)
    for label in (f"{ref.kind}/{bare}", ref.kind):
        for number, phase in enumerate(phases):
            if label in phase.objects:
                return number
    if ref.kind not in WORKLOADS:
        return 0
    return max(
        (n for n, phase in enumerate(phases) if "Deployment" in phase.objects), default=len(phases) - 1
    )


def _require_kinds(objects: Sequence[Wanted], kinds: Kinds) -> None:
    """Check that the cluster serves every kind, or that the deploy brings it."""
    brought = scopes_to_come(w.body for w in objects)
    for w in objects:
        key = w.ref.key
        if key not in kinds and key not in brought:
            raise unknown_kind(w.ref, kinds)


def unknown_kind(ref: Ref, kinds: Kinds) -> Failure:
    """The error for a kind that the cluster does not serve, or not in this version."""
    what = f"The cluster does not know the kind {ref.kind} of {ref.api_version}."
    if served := _other_versions(ref, kinds):
        return Failure(
            what,
            f"It knows {ref.kind} of {', '.join(served)}.",
            f"Fix the apiVersion of {ref}: cluster upgrades remove old versions of the API.",
        )
    return Failure(
        what,
        f"{ref} cannot be applied without its CustomResourceDefinition.",
        "Install what brings it first: cert-manager brings ClusterIssuer (./inv cluster.addons --apply).",
    )


def _other_versions(ref: Ref, kinds: Kinds) -> list[str]:
    """The versions in which the cluster knows a kind; Kubernetes' own kinds also went to other groups."""
    group = ref.api_version.rpartition("/")[0]
    is_own = "." not in group or group.endswith(".k8s.io")
    named = [version for version, kind in kinds if kind == ref.kind]
    return sorted(version for version in named if is_own or version.rpartition("/")[0] == group)
