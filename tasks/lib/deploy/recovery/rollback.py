"""Rolling back: an earlier release from history, its configuration and image together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.lib.build_variables import BuildVariables
from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy import apply, history, maintenance
from tasks.lib.deploy import deploy as steps
from tasks.lib.deploy import session as sessions
from tasks.lib.deploy.backup import policy
from tasks.lib.deploy.events import Notice, PhaseBegan, Record, ReleaseResult, Tell
from tasks.lib.deploy.hooks import ROLLBACK, Hooks, Launcher
from tasks.lib.deploy.lock import holder, lease
from tasks.lib.deploy.objects import is_job, wanted
from tasks.lib.deploy.plan import document, plan, prune, references
from tasks.lib.deploy.plan.field_managers import bare
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.recovery import recover
from tasks.lib.deploy.releases import seal, store
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Plan
from tasks.lib.errors import Failure
from tasks.lib.image import digest
from tasks.lib.redaction import Redactor
from tasks.lib.secrets.sensitive import public
from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Request:
    """Which release is to come back where."""

    environment: Environment
    number: int | None = None  # the release; None for the last good one before the present
    launcher: Launcher = field(default_factory=Launcher)
    force_conflicts: tuple[str, ...] = ()  # `Kind/name:field` to take over from other managers
    prune: bool = True  # remove what later releases added
    # Sees the plan of a release that cannot be trusted, and raises to stop; None refuses such a release.
    accept_unsealed: Callable[[Plan], None] | None = None


def roll_back(settings: Settings, request: Request, tell: Tell) -> Record:
    """Deploy an earlier release again; Jobs are left out, because migrations are never reversed.

    Raises Failure where it cannot be brought back, or does not become ready.
    """
    for named in request.force_conflicts:
        bare(named)
    environment = request.environment
    with gke.reached(settings, environment) as connection:
        gke.check_mark(connection.api, environment)
        past = store.read(connection.api, environment.namespace)
        chosen = history.choose(past, request.number, environment.name)
        sealing = seal.decrypted(settings, environment)
        if request.accept_unsealed is None:
            seal.require(sealing, chosen, environment.name)
        tell(PhaseBegan(f"rollback to {chosen.title}"))
        kept = policy.way_back(past, chosen.number)
        tell(Notice(f"The database is not changed: migrations are not reversed. {kept}".strip()))
        return steps.deploy(Rollback(settings, request, connection, chosen, sealing), tell)


class Rollback(steps.Operation):
    """The return to one release of the history."""

    def __init__(
        self,
        settings: Settings,
        request: Request,
        connection: Connection,
        chosen: history.Release,
        sealing: seal.Seal,
    ) -> None:
        self._settings, self._request, self._environment = settings, request, request.environment
        self._connection, self._chosen, self._seal = connection, chosen, sealing

    @contextmanager
    def announced(self, tell: Tell) -> Iterator[Record]:
        """Notify, run the hooks of its end, and tell its beginning and end."""
        variables, launcher = variables_of(self._chosen), self._request.launcher
        hooks = Hooks(self._settings, self._environment, variables, launcher, tell, ROLLBACK)
        with hooks.around(), sessions.recorded(self._environment.name, tell) as record:
            record.outcome = ReleaseResult.ROLLBACK_FAILED
            yield record

    @contextmanager
    def preflight(self, record: Record, tell: Tell) -> Iterator[Session]:
        """Check that the Secrets and the images of the release are still there."""
        settings, chosen, connection = self._settings, self._chosen, self._connection
        bodies = [body for body in chosen.objects() if not is_job(body)]
        redactor = Redactor(public=public(settings, [body["metadata"]["name"] for body in bodies]))
        claim = holder.claim(chosen.facts, makes_way=False)
        session = Session(settings, self._environment, connection, claim, self._seal, redactor, record, tell)
        session.facts |= {
            "back_to": str(chosen.number),
            "secrets": chosen.facts.get("secrets", "[]"),  # they stay, and are not among the objects
        }
        with session.opened():
            recover.require_secrets(
                {secret["metadata"]["name"] for secret in session.secrets()}, bodies, chosen
            )
            _require_images(settings, bodies, session.tell)
            session.objects = wanted(bodies, connection.kinds, session.namespace)
            yield session

    @contextmanager
    def locked(self, session: Session) -> Iterator[None]:
        """Hold the lock, and check that the release that was chosen before is still the one that is meant."""
        with lease.held(session.lock, wait=self._settings.time_limits.lock, tell=session.tell):
            session.past = store.read(session.api, session.namespace)
            require_still(self._request, self._chosen, session.past)
            yield

    def plan(self, session: Session) -> Planned:
        """Plan the release's objects; what later releases added is removed, all but Jobs and Secrets."""
        choices = plan.Choices(force_conflicts=self._request.force_conflicts)
        planned = plan.make(session, session.formed(), choices)
        references.require(session, planned)
        if not (self._request.prune and session.settings.deploy.prune):
            return planned
        return prune.completed(session, planned, session.past, ("Job", "Secret"))

    def approve(self, session: Session, planned: Planned) -> None:
        """Have the plan approved where the release cannot be trusted; it stays within its namespace then."""
        accept, doubt = self._request.accept_unsealed, session.seal.doubt(self._chosen)
        if not accept or not doubt:
            return
        session.tell(Notice(f"Release {self._chosen.number} cannot be trusted. {doubt}"))
        refuse_foreign(planned, self._environment)
        accept(document.blanked(document.of(self._environment.name, planned), session.redactor))

    def clean_up(self, session: Session, planned: Planned, end: BaseException) -> None:
        """Record how the rollback ended early; nothing is rolled back."""
        note_end(session.record, end, self._chosen)

    def record(self, session: Session, planned: Planned) -> None:
        """Keep a release that says which one it rolled back to."""
        session.record.aftermath += maintenance.note(session.maintenance, self._environment.name)
        if session.record.outcome is ReleaseResult.DEPLOYED:
            session.record.aftermath += planned.not_restarted
        session.keep_release()


def variables_of(past: history.Release) -> BuildVariables:
    """What was released, for hooks and notifications; what a release does not know is empty."""
    known = {key: past.facts.get(key, "") for key in ("commit", "branch", "tag", "build")}
    return BuildVariables(
        commit_sha=known["commit"], branch_name=known["branch"], tag_name=known["tag"],
        repo_name="", build_id=known["build"],
    )  # fmt: skip


def _require_images(settings: Settings, objects: Sequence[Json], tell: Tell) -> None:
    """Check that the registry still holds what will run; one that does not answer stops nobody."""
    try:
        gone = digest.missing(settings, objects)
    except Failure as failure:
        tell(Notice(f"Could not check that its images still exist: {failure.what}"))
        return
    if gone:
        raise Failure(
            "Cannot roll back to that release: the registry no longer holds its images.",
            "\n".join(gone),
            "Choose another release with --to, or build and push the image (./inv build, ./inv push).",
        )


def refuse_foreign(planned: Planned, environment: Environment) -> None:
    """Raise Failure where an untrusted release makes something outside the environment's namespace."""
    created = [step.ref for step in planned.steps if step.writes and step.live is None]
    if foreign := [str(ref) for ref in created if ref.namespace != environment.namespace]:
        raise Failure(
            "A release that cannot be trusted creates nothing outside the environment's namespace.",
            "\n".join(foreign),
            "Deploy a commit instead: ./inv deploy --branch … --commit …",
        )


def note_end(record: Record, end: BaseException, chosen: history.Release) -> None:
    """Note how a rollback ended early; once all is ready, only something to be removed is left."""
    again = f"./inv release.rollback --environment {record.environment} --to {chosen.number}"
    if record.outcome is ReleaseResult.DEPLOYED:
        record.aftermath.append(apply.LATER)
    elif isinstance(end, KeyboardInterrupt):
        record.outcome = ReleaseResult.ROLLBACK_INTERRUPTED
        record.aftermath.append(f"The rollback was interrupted: its changes were kept. To finish it: {again}")


def require_still(request: Request, chosen: history.Release, past: Sequence[history.Release]) -> None:
    """Raise Failure where what others did while this waited for the lock means another release now."""
    now = history.choose(past, request.number, request.environment.name).number
    if now != chosen.number:
        raise Failure(
            "Another deploy ended, or was killed, while this waited for its lock: nothing was changed.",
            f"The last good release before the present one is {now} now; it was {chosen.number}.",
            f"./inv release.rollback --environment {request.environment.name} --to {now}",
        )
