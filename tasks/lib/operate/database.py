"""The database of an environment between deploys: its backups, and a restore with the application stopped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from tasks.lib.cluster.gke import Connection
from tasks.lib.console import spoken
from tasks.lib.deploy.backup.cloud_sql import REQUEST, Backups, NotBegun, Run
from tasks.lib.deploy.events import Notice, PhaseBegan, Record, Tell
from tasks.lib.deploy.lock import lease
from tasks.lib.deploy.lock.holder import OPERATION, claim
from tasks.lib.deploy.objects import ref_of
from tasks.lib.deploy.session import masked
from tasks.lib.errors import Failure, UsageError
from tasks.lib.google import sessions
from tasks.lib.operate import workloads
from tasks.lib.operate.stopping import NotStopped, Stopping
from tasks.lib.operate.workloads import RESTORE
from tasks.lib.redaction import Redactor
from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Loss:
    """What a restore takes away."""

    instance: str
    run: Run
    at: datetime
    stopped: Sequence[str]  # the workloads that do not run meanwhile

    def __str__(self) -> str:
        age = spoken((self.at - self.run.enqueued).total_seconds())
        return (
            f"This replaces all data of {self.instance} by backup {self.run.id} of "
            f"{self.run.enqueued:%Y-%m-%d %H:%M} UTC.\n"
            f"Everything that was entered in the {age} since then is lost. "
            f"Meanwhile these are stopped: {', '.join(self.stopped) or 'nothing'}."
        )


Approve = Callable[[Loss], None]


def client(settings: Settings, environment: Environment, tell: Tell) -> Backups:
    """The backups of an environment's database.

    Raises:
        UsageError: invoke.yaml names no instance.

    """
    if not environment.database.instance:
        key = f"environments.{environment.name}.database.instance"
        raise UsageError(f"{environment.name} has no Cloud SQL instance.", f"{key} in invoke.yaml is empty.")
    session = sessions.authorized_session(settings.google)
    return Backups(settings, environment.database, session, tell, REQUEST)


def back_up(settings: Settings, environment: Environment, description: str, tell: Tell) -> str:
    """Take a backup and wait until it is complete; returns its id.

    Raises:
        Failure: it is refused, or it failed.
        TimedOut: it takes longer than time_limits.backup.

    """
    backups = client(settings, environment, tell)
    begun = backups.begin(f"lookit-orchestrator, {description or 'on request'}")
    tell(Notice(f"backup {begun.id} of {environment.database.instance} is in progress …"))
    backups.finish(begun)
    return begun.id


def restore(settings: Settings, environment: Environment, wanted: str, approve: Approve, tell: Tell) -> None:
    """Replace all data of an environment's database by those of a backup, with the application stopped.

    A backup of the present data is taken first.  All of it happens under the environment's lock.  `approve`
    sees what will be lost, and raises to stop.

    Raises:
        UsageError: there is no such backup, or it cannot be restored.
        Failure: a deploy holds the lock, or a step failed; the message says what is stopped.
        TimedOut: a step takes too long.

    """
    backups = client(settings, environment, tell)
    run = choose(backups.runs(), wanted, environment)
    with workloads.reached(settings, environment) as (connection, redactor):
        mine = lease.Lock(connection.api, environment, claim({OPERATION: f"restore of backup {run.id}"}))
        with lease.held(mine, wait=0, tell=tell):
            stopping = _stopping(settings, environment, connection, redactor, tell)
            names = [str(ref_of(one)) for one in stopping.find()]
            approve(Loss(environment.database.instance, run, datetime.now(UTC), names))
            tell(PhaseBegan("backup of the present data"))
            kept = back_up(settings, environment, f"before the restore of {run.id}", tell)
            tell(Notice(f"backup {kept} has the present data"))
            record = Record(environment.name, blank=redactor.line)
            _restore_stopped(stopping, backups, run, record)


def choose(runs: Sequence[Run], wanted: str, environment: Environment) -> Run:
    """The backup `wanted`.

    Raises:
        UsageError: there is none of this id, or it cannot be restored.

    """
    look = f"./inv database.backups --environment {environment.name}"
    found = next((run for run in runs if run.id == wanted), None)
    if found is None:
        raise UsageError(f"There is no backup {wanted!r} of {environment.database.instance}.", "", look)
    if not found.is_usable:
        raise UsageError(f"Backup {wanted} cannot be restored.", f"It is {found.status}.", look)
    return found


def _restore_stopped(stopping: Stopping, backups: Backups, run: Run, record: Record) -> None:
    """Stop the application, restore, start it again.

    If the restore did not begin, the application is started too: the data are as they were.  If it failed
    half-way, nobody knows what the data are, so it stays stopped.
    """
    tell = stopping.tell
    tell(PhaseBegan("stop the application"))
    try:
        stopping.stop()
        tell(PhaseBegan(f"restore backup {run.id}"))
        backups.restore(run)
    except NotStopped as still:
        stopping.start(record)
        raise still.retold(
            what="The application did not stop in time: nothing was restored.",
            why=f"{still.why} What had stopped is started again.",
        ) from still
    except NotBegun:
        stopping.start(record)
        raise
    except BaseException:
        back = f"./inv database.start --environment {record.environment}"
        tell(Notice(f"The application stays stopped. When the data are good: {back}"))
        raise
    stopping.start(record)


def _stopping(
    settings: Settings, environment: Environment, connection: Connection, redactor: Redactor, tell: Tell
) -> Stopping:
    """What stops the workloads that run the application."""
    find = partial(workloads.find, settings, environment, connection, ())
    return Stopping(settings, environment, connection, masked(tell, redactor), RESTORE, find)


def start(settings: Settings, environment: Environment, tell: Tell) -> list[str]:
    """Start what a restore has stopped and not started again, and wait until it is ready; returns the names.

    Raises:
        Failure: a workload cannot become ready.
        TimedOut: not all were ready in time, or a deploy held the lock for too long.

    """
    with workloads.reached(settings, environment) as (connection, redactor):
        mine = lease.Lock(connection.api, environment, claim({OPERATION: "start after a restore"}))
        # A killed restore's lock is free after some seconds.
        with lease.held(mine, wait=settings.time_limits.lock, tell=tell):
            stopping = _stopping(settings, environment, connection, redactor, tell)
            return stopping.start(Record(environment.name, blank=redactor.line))


def typed(environment: Environment, confirmed: str, answer: Callable[[], str]) -> Approve:
    """What asks for the environment's name, unless the option --confirm has it already.

    Raises:
        UsageError: --confirm has another name.

    """
    if confirmed and confirmed != environment.name:
        raise UsageError(f"--confirm {confirmed} is not the environment {environment.name}.")

    def approve(loss: Loss) -> None:
        from tasks.lib import console

        console.say(str(loss))
        if confirmed:
            return
        console.say(f"Type {environment.name} to restore it, anything else to stop:")
        if answer() != environment.name:
            raise Failure("The restore was not approved: nothing was changed.")

    return approve
