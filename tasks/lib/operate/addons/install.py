"""Installing and upgrading an add-on: the steps of a deploy, with the add-on's manifest as what is wanted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from msgspec import structs

from tasks.lib import signals
from tasks.lib.background import side_by_side
from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.kinds import Kind, listed
from tasks.lib.deploy import deploy as steps
from tasks.lib.deploy import session as sessions
from tasks.lib.deploy.events import Notice, PhaseBegan, Record, Tell
from tasks.lib.deploy.lock import holder, lease
from tasks.lib.deploy.lock.holder import OPERATION
from tasks.lib.deploy.objects import Ref, Wanted, ref_of, wanted
from tasks.lib.deploy.plan import document, prune
from tasks.lib.deploy.plan import plan as plans
from tasks.lib.deploy.plan.decide import get
from tasks.lib.deploy.plan.field_managers import LABEL
from tasks.lib.deploy.plan.plan import WORKLOADS, Choices, Planned
from tasks.lib.deploy.plan.prune import Situation
from tasks.lib.deploy.releases.seal import Seal
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Plan
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.operate.addons import installed, manifest
from tasks.lib.redaction import Redactor
from tasks.lib.retry import Attempts
from tasks.lib.secrets import sensitive
from tasks.lib.settings.deploy import Phase
from tasks.lib.settings.model import Environment, Settings

# Label values of environments are names of namespaces, which have no dots.
OWNER: Final = "addons."
HELM: Final = "helm"  # the field manager of Helm 3 and 4
DEFINITION: Final = "CustomResourceDefinition"
# Kinds of which an add-on may have had objects.
USUAL: Final = (
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "IngressClass"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    *installed.WEBHOOKS,
)
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True)
class Request:
    """Which add-on is to be installed where."""

    environment: Environment
    name: str
    contents: Sequence[Json]  # the objects of its manifest
    choices: Choices = field(default_factory=lambda: Choices(prune=True))
    # Sees the plan before anything changes; raises to stop.
    approve: Callable[[Plan], None] = lambda plan: None

    @property
    def title(self) -> str:
        """The add-on and where."""
        return f"{self.name} in {self.environment.name}"


def requests(
    settings: Settings, environment: Environment, only: Sequence[str], choices: Choices
) -> list[Request]:
    """What is to be installed, with all manifests fetched before anything is done.

    Raises:
        UsageError: there is no such add-on.
        Failure: a manifest cannot be fetched, or is not the expected one.

    """
    return [
        Request(environment, name, manifest.contents(settings, environment, name), choices)
        for name in settings.chosen_addons(only)
    ]


def install(settings: Settings, request: Request, tell: Tell) -> Record:
    """Apply an add-on, and wait until its workloads and webhooks are ready.

    Raises:
        Failure: the cluster refuses it, a deploy holds the lock, or something of it does not start.
        TimedOut: something takes longer than its limit.

    """
    return steps.deploy(Installation(settings, request), tell)


def plan(settings: Settings, request: Request) -> Plan:
    """What that would change; nothing changes.

    Raises:
        Failure: it would fail before it changes something.

    """
    operation = Installation(settings, request)
    with operation.preflight(Record(request.title), lambda event: None) as session:
        return operation.shown(session, operation.plan(session))


class AddOnSession(Session):
    """A session whose objects are labelled as an add-on's, which no deploy of an environment prunes."""

    add_on = ""

    @property
    def owner(self) -> str:
        """The value of our label on the objects."""
        return f"{OWNER}{self.add_on}"


class Installation(steps.Operation):
    """The installation of one add-on."""

    def __init__(self, settings: Settings, request: Request) -> None:
        self._request, self._add_on = request, settings.addons[request.name]
        self._settings = as_for_add_ons(settings, request.contents)
        self._approved = self._lacks_namespace = False

    def announced(self, tell: Tell) -> AbstractContextManager[Record]:
        """Tell its beginning and end."""
        return sessions.recorded(self._request.title, tell)

    @contextmanager
    def preflight(self, record: Record, tell: Tell) -> Iterator[Session]:
        """Reach the cluster and check that it is the right one."""
        tell(PhaseBegan("preflight"))
        environment = self._request.environment
        connection = gke.connect(self._settings, environment)
        claim = holder.claim({OPERATION: f"installation of {self._request.name}"})
        seal = Seal((environment.name, environment.namespace))
        redactor = Redactor(public=sensitive.public(self._settings))
        session = AddOnSession(self._settings, environment, connection, claim, seal, redactor, record, tell)
        session.add_on = self._request.name
        with session.opened():
            is_marked = gke.check_mark(connection.api, environment)
            self._lacks_namespace = not is_marked and gke.lacks_namespace(connection.api, environment)
            session.objects = wanted(self._request.contents, connection.kinds, self._add_on.namespace)
            yield session

    @contextmanager
    def locked(self, session: Session) -> Iterator[None]:
        """Hold the environment's lock, so that no deploy meets webhooks that do not answer yet."""
        if self._lacks_namespace:  # for the lock to lie in
            self.approve(session, self.plan(session))
            gke.create_namespace(session.api, session.namespace)
        with lease.held(session.lock, wait=0, tell=session.tell):
            yield

    def plan(self, session: Session) -> Planned:
        """Plan what the manifest says; a downgrade, and the loss of a static address, are refused."""
        name, connection = self._request.name, session.connection
        there = installed.look(connection, self._add_on)
        installed.require_no_downgrade(name, there, self._add_on)
        planned = plans.make(session, session.objects, self._request.choices)
        require_addresses(planned, self._request)
        notes = installed.notes(name, there, self._add_on, connection.found.version)
        return replace(
            pruned(planned, session, self._add_on.namespace) if self._request.choices.prune else planned,
            notes=tuple(notes),
        )

    def shown(self, session: Session, planned: Planned) -> Plan:
        """The plan as people get it."""
        return document.blanked(document.of(self._request.title, planned), session.redactor)

    def approve(self, session: Session, planned: Planned) -> None:
        """Have the plan approved, once."""
        if not self._approved:
            self._request.approve(self.shown(session, planned))
            self._approved = True

    def verify(self, session: Session, planned: Planned) -> None:
        """Wait until every webhook of the add-on has the authority of its certificate.

        Raises:
            TimedOut: one does not get it.

        """
        waiting = [step.wanted for step in planned.steps if installed.is_webhook(step.ref)]
        attempts = Attempts(session.settings.time_limits.rollout, FIRST_PAUSE, LONGEST_PAUSE)
        while waiting := [one for one in waiting if not _is_trusted(session, one)]:
            session.lock.require()
            pause = attempts.pause()
            if pause is None:
                raise _untrusted(waiting, session.settings.time_limits.rollout, self._add_on.namespace)
            session.tell(Notice(f"waiting for the certificates of {len(waiting)} webhooks"))
            signals.sleep(pause)


def as_for_add_ons(settings: Settings, contents: Sequence[Json]) -> Settings:
    """The settings with the phases of an add-on; what Helm applied is taken over as what kubectl did."""
    deploy = settings.deploy
    fitted = structs.replace(deploy, phases=phases(contents), predecessors=[*deploy.predecessors, HELM])
    return structs.replace(settings, deploy=fitted)


def phases(contents: Sequence[Json]) -> list[Phase]:
    """Definitions of kinds first, then namespaces, configuration, Jobs, workloads.

    Webhooks come before the Jobs that write certificates into them, and these before the workloads that mount
    the certificates.  Jobs that check an installation, by their hook, come last.
    """
    kinds, last = {one["kind"] for one in contents}, [one for one in contents if manifest.is_run_last(one)]
    return [
        Phase(title="definitions", objects=[DEFINITION]),
        Phase(title="namespaces", objects=["Namespace"]),
        Phase(
            title="configuration, access and webhooks",
            objects=sorted(kinds - WORKLOADS - {DEFINITION, "Namespace", "Job"}),
        ),
        Phase(title="jobs", objects=["Job"]),
        Phase(title="workloads", objects=sorted(WORKLOADS)),
        Phase(title="checks", objects=[f"{one['kind']}/{one['metadata']['name']}" for one in last]),
    ]


def pruned(planned: Planned, session: Session, namespace: str) -> Planned:
    """The same plan with the removal of what an earlier version of the add-on had."""
    deployed = {step.ref for step in planned.steps}
    others = {**planned.others, **_of_kinds_that_went(planned, session, namespace)}
    now = Situation(session.owner, deployed, others, [], [], session.settings.deploy.controllers)
    return replace(planned, removals=prune.decide(now), left=prune.left(now))


def _of_kinds_that_went(planned: Planned, session: Session, namespace: str) -> dict[Ref, Json]:
    """What carries the add-on's label and is of a usual kind of which the manifest has no object any more."""
    kinds, there = session.connection.kinds, {step.ref.key for step in planned.steps}
    gone = [kinds[key] for key in USUAL if key in kinds and key not in there]

    def read(kind: Kind) -> list[Json]:
        query = {"labelSelector": f"{LABEL}={session.owner}"}
        return listed(session.api, kind, namespace, query)

    found = side_by_side(read, gone, CONNECTIONS)
    return {ref_of(one): one for part in found for one in part}


def require_addresses(planned: Planned, request: Request) -> None:
    """Raise Failure where a load balancer would lose the static address that DNS records point to."""
    for step in planned.steps:
        live = ((step.live or {}).get("spec") or {}).get("loadBalancerIP")
        if live and manifest.is_load_balancer(step.body) and not step.body["spec"].get("loadBalancerIP"):
            raise Failure(
                f"{step.ref} would lose its static address {live}: nothing was changed.",
                "invoke.yaml has none for it, and DNS records point to it.",
                f"Set addons.{request.name}.addresses.{request.environment.name}: {live} in invoke.yaml.",
            )


def _is_trusted(session: Session, one: Wanted) -> bool:
    live = get(session.api, session.connection.kinds[one.ref.key], one.ref)
    return bool(live and installed.is_trusted(live))


def _untrusted(waiting: Sequence[Wanted], seconds: float, namespace: str) -> TimedOut:
    return TimedOut(
        f"{', '.join(str(one.ref) for one in waiting)}: no caBundle within {seconds:g} s.",
        "Until it has one, the API server refuses the objects that this webhook checks.",
        f"See what writes it: kubectl -n {namespace} get jobs,pods; then run the same again.",
    )
