"""A deploy of what a commit's manifests say: the operation that makes a new release."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tasks.lib import build_variables
from tasks.lib.background import Background
from tasks.lib.build_variables import BuildVariables
from tasks.lib.cluster import gke
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy import deploy as steps
from tasks.lib.deploy import history, maintenance
from tasks.lib.deploy import session as sessions
from tasks.lib.deploy.backup import policy
from tasks.lib.deploy.backup.policy import Backup
from tasks.lib.deploy.events import Decided, Notice, PhaseBegan, Record, ReleaseResult, Tell
from tasks.lib.deploy.hooks import Hooks, Launcher
from tasks.lib.deploy.lock import holder, lease
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.plan import autoscaling, commit_order, document, prune, readers, references
from tasks.lib.deploy.plan import plan as plans
from tasks.lib.deploy.plan.plan import Choices, Planned
from tasks.lib.deploy.recovery import recover, release_zero
from tasks.lib.deploy.releases import seal, store
from tasks.lib.deploy.releases.seal import Seal
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Plan
from tasks.lib.image import digest
from tasks.lib.render.rendering import Rendered, render
from tasks.lib.secrets import crypt
from tasks.lib.secrets.files import RELEASE_KEY
from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Request:
    """What is to be deployed where, and how."""

    environment: Environment
    variables: BuildVariables
    choices: Choices
    wait: bool = True  # whether to wait for another deploy to end
    # Sees the plan before anything changes; raises to stop.
    approve: Callable[[Plan], None] = lambda plan: None
    roll_back: bool = True  # whether a failure brings the last good release back
    evidence: str = ""  # the folder for support bundles of failed deploys; empty for what settings say
    launcher: Launcher = field(default_factory=Launcher)
    allow_older: bool = False  # deploy a commit although the one in force is known to be newer

    @classmethod
    def of_branch(
        cls, settings: Settings, branch: str, commit: str, tag: str, choices: Choices, **more: Any
    ) -> "Request":
        """The request for a branch, which decides on the environment; raises UsageError where none does."""
        environment = settings.environment_of_branch(branch)
        variables = build_variables.read(settings, environment, commit=commit, tag=tag)
        return cls(environment, variables, choices, **more)


def deploy(settings: Settings, request: Request, tell: Tell) -> Record:
    """Deploy; `tell` hears the end on success, failure, time-out and interruption alike.

    Raises Failure where nothing, or not everything, was deployed; the message says why. Raises TimedOut where
    something took longer than its limit.
    """
    return steps.deploy(NewRelease(settings, request), tell)


def plan(settings: Settings, request: Request) -> Plan:
    """What a deploy would do, and nothing changes; raises Failure where it would fail before that."""
    operation = NewRelease(settings, request)
    with operation.preflight(Record(request.environment.name), lambda event: None) as session:
        session.past = store.read(session.api, session.namespace)
        return operation.shown(session, operation.plan(session))


class NewRelease(steps.Operation):
    """The deploy of one commit."""

    def __init__(self, settings: Settings, request: Request) -> None:
        self._settings, self._request, self._environment = settings, request, request.environment
        self._is_marked, self._lacks_namespace, self._approved = False, False, False

    @contextmanager
    def announced(self, tell: Tell) -> Iterator[Record]:
        """Notify, run the hooks of its end, and tell its beginning and end."""
        with self._hooks(tell).around(), sessions.recorded(self._environment.name, tell) as record:
            yield record

    @contextmanager
    def preflight(self, record: Record, tell: Tell) -> Iterator[Session]:
        """Render the manifests, reach the cluster, and check that it is the right one."""
        tell(PhaseBegan("preflight"))
        settings, environment = self._settings, self._environment
        connection, rendered, seal = _rendered(settings, self._request)
        claim = holder.claim(self._request.variables.as_facts())
        session = Session(settings, environment, connection, claim, seal, rendered.redactor, record, tell)
        with session.opened():
            contents = [document.content for document in rendered.documents]
            objects = wanted(contents, connection.kinds, session.namespace)
            session.objects = readers.marked(objects) if settings.deploy.restart_readers else objects
            self._is_marked = gke.check_mark(session.api, environment)
            self._lacks_namespace = not self._is_marked and gke.lacks_namespace(session.api, environment)
            yield session

    @contextmanager
    def locked(self, session: Session) -> Iterator[None]:
        """Hold the lock; a missing namespace is created first, once the plan that shows it is approved."""
        found, problem = session.connection.found, session.seal.problem
        session.tell(Notice(f"cluster {found.name} at {found.endpoint.server}"))
        if problem:
            session.tell(Notice(f"This release will not be sealed, so a rollback to it will ask. {problem}"))
        if self._lacks_namespace:
            self.approve(session, self.plan(session))
            gke.create_namespace(session.api, session.namespace)
            session.tell(Notice(f"namespace {session.namespace} is created"))
        wait = self._settings.time_limits.lock if self._request.wait else 0
        with lease.held(session.lock, wait=wait, tell=session.tell):
            session.past = store.read(session.api, session.namespace)
            yield

    def plan(self, session: Session) -> Planned:
        """Plan what was rendered; what it names has to be there, and the release in force is not newer."""
        settings, request = self._settings, self._request
        planned = plans.make(session, session.formed(), request.choices)
        if request.choices.prune and settings.deploy.prune:
            planned = prune.completed(session, planned, session.past)
        references.require(session, planned)
        past = [] if request.allow_older else session.past
        notes = commit_order.check(settings, self._environment.name, request.variables, past)
        session.learn(planned.live_secrets)
        is_on = maintenance.note(session.maintenance, self._environment.name)
        return replace(planned, notes=(*is_on, *notes, *planned.not_restarted))

    def shown(self, session: Session, planned: Planned) -> Plan:
        """The plan as people and files get it, without secret values."""
        shown = document.of(self._environment.name, planned)
        if self._lacks_namespace:
            shown = document.with_namespace(shown, session.namespace)
        return document.blanked(shown, session.redactor)

    def approve(self, session: Session, planned: Planned) -> None:
        """Tell the plan and have it approved; once approved before the namespace was created, it stays so."""
        if self._approved:
            return
        shown = self.shown(session, planned)
        session.tell(Decided(shown))
        for note in (*shown.notes, *autoscaling.notes(planned.steps)):
            session.tell(Notice(note))
        self._request.approve(shown)
        self._approved = True

    def back_up(self, session: Session, planned: Planned) -> Backup:
        """Run the hooks that may stop it, begin the backup, and keep what others deployed as release 0."""
        self._hooks(session.tell).before()
        backup = Backup(session)
        if self._request.choices.backup:
            backup.begin(planned, self._request.variables.commit_sha)
        release_zero.keep(session, planned.steps)
        if not self._is_marked and not gke.check_mark(session.api, self._environment):
            gke.write_mark(session.api, self._environment)
        return backup

    def clean_up(self, session: Session, planned: Planned, end: BaseException) -> None:
        """Bring the last good release back, unless the deploy was interrupted or all is ready already."""
        request = self._request
        recover.after(session, planned, end, roll_back=request.roll_back, evidence=request.evidence)

    def record(self, session: Session, planned: Planned) -> None:
        """Keep the release; one that changed nothing is kept only where the newest one did not go well."""
        record = session.record
        went_well = record.outcome is ReleaseResult.DEPLOYED
        record.aftermath += maintenance.note(session.maintenance, self._environment.name)
        record.aftermath += planned.not_restarted if went_well else policy.reminder(session.facts)
        writes = bool(planned.removals) or any(step.writes for step in planned.steps)
        if writes or (went_well and not history.is_good(session.past)):
            session.keep_release()

    def _hooks(self, tell: Tell) -> Hooks:
        request = self._request
        return Hooks(self._settings, self._environment, request.variables, request.launcher, tell)


def _rendered(settings: Settings, request: Request) -> tuple[Connection, Rendered, Seal]:
    """Reach the cluster while the secrets are decrypted, and render; all of it changes nothing."""
    environment = request.environment
    connecting = Background(partial(gke.connect, settings, environment))
    secrets = crypt.decrypt_all(settings, environment)
    sealing = seal.of(settings, environment, secrets)
    secrets.pop(RELEASE_KEY, None)  # no manifest reads it
    rendered = render(settings, environment, request.variables, secrets)
    rendered.validate(settings.kustomize.kubernetes)
    with rendered.redactor.failures():
        digest.pin(settings, [document.content for document in rendered.documents])
    return connecting.wait(), rendered, sealing
