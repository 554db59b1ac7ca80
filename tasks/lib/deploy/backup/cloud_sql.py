"""An on-demand backup of a Cloud SQL instance, through the Cloud SQL Admin API.

Source: https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1/backupRuns/insert and …/operations/get
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tasks.lib.deploy.backup.sql_admin import (
    NOT_ENABLED,
    Instance,
    Late,
    Refusal,
    errors_of,
    how_to_enable,
    with_flags,
)
from tasks.lib.deploy.events import Notice, Tell
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.settings.model import Database, Settings

if TYPE_CHECKING:
    from requests import Session

# The right to back a database up, as a role of its own: predefined ones may change the instance as well.
ROLE: Final = "lookitDatabaseBackup"
# Taking a backup, following its operation, and, for the doctor, showing the latest.
PERMISSIONS: Final = ("cloudsql.backupRuns.create", "cloudsql.backupRuns.list", "cloudsql.instances.get")
NO_QUOTA: Final = frozenset({"quotaExceeded", "dailyLimitExceeded"})


@dataclass(frozen=True)
class Purpose:
    """What a backup is taken for, as messages about its failure say it."""

    without: str  # what does not happen if there is no backup
    afterwards: str = ""  # what to do after a backup by hand


MIGRATION: Final = Purpose("no migration was started", ", then deploy with --no-backup")
REQUEST: Final = Purpose("nothing else was done")


@dataclass(frozen=True)
class Run:
    """One backup, as Cloud SQL lists it."""

    id: str
    enqueued: datetime
    status: str  # SUCCESSFUL, RUNNING, FAILED …
    kind: str  # AUTOMATED or ON_DEMAND
    description: str

    @property
    def is_usable(self) -> bool:
        """Whether it can be restored."""
        return self.status == "SUCCESSFUL"


@dataclass(frozen=True)
class Begun:
    """A backup that was asked for: the name of its operation, and its own id."""

    operation: str
    id: str


class NotBegun(Failure):
    """A restore did not begin: the data are as they were."""


class Backups:
    """Backups of one database."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        session: "Session",
        tell: Tell,
        purpose: Purpose = MIGRATION,
    ) -> None:
        self._purpose = purpose
        self._database = database
        busy = Notice(f"{database.instance} is busy with another operation; waiting …")
        self._instance = Instance(settings, database, session, lambda: tell(busy))

    def begin(self, description: str) -> Begun:
        """Ask for a backup.  Where an answer is lost, asking again may leave two, which harms nobody.

        Raises Failure where it is refused; the message says what to do. Raises TimedOut where the instance is
        busy with something else for too long.
        """
        match self._instance.start("backupRuns", {"description": description}):
            case Refusal() as answer:
                raise refused(self._database, answer, self._purpose)
            case Late(status):
                raise self._timed_out(status)
            case operation:
                return read_begun(self._database, operation, self._purpose)

    def finish(self, begun: Begun) -> None:
        """Wait until the backup is there; raises Failure where it failed, TimedOut where it is late."""
        match self._instance.follow(begun.operation):
            case Refusal() as answer:
                raise refused(self._database, answer, self._purpose)
            case Late(status):
                raise self._timed_out(f"Backup {begun.id} is {status}.")
            case operation:
                require_success(self._database, begun, operation, self._purpose)

    def restore(self, run: Run) -> None:
        """Replace all data of the instance by those of one of its backups, and wait until that is done.

        Raises:
            NotBegun: it is refused, or the instance is busy with something else for too long.
            Failure: it failed.
            TimedOut: it takes too long.

        """
        database = self._database
        context = {"backupRunId": run.id, "instanceId": database.name, "project": database.project}
        match self._instance.start("restoreBackup", {"restoreBackupContext": context}):
            case Refusal() as answer:
                raise NotBegun(f"Backup {run.id} was not restored: Cloud SQL refuses it.", answer.words,
                               _ask_owner(database, run))  # fmt: skip
            case Late(status):
                raise NotBegun(f"Backup {run.id} was not restored: {database.instance} has no time for it.",
                               status, with_flags("gcloud sql operations list", database))  # fmt: skip
            case begun:
                self._finish_restore(str(begun.get("name", "")), run)

    def _finish_restore(self, operation: str, run: Run) -> None:
        what = f"The restore of backup {run.id} into {self._database.instance}"
        look = with_flags("gcloud sql operations list", self._database)
        match self._instance.follow(operation):
            case Refusal() as answer:
                raise Failure(f"{what} cannot be followed.", answer.words, look)
            case Late(status):
                raise TimedOut(
                    f"{what} was not complete within {self._instance.limit:g} s.", f"It is {status}.", look
                )
            case ended:
                if why := errors_of(ended):
                    raise Failure(f"{what} failed.", why, look)

    def latest(self) -> Run | None:
        """The newest backup, None for none; raises Failure where it is hidden."""
        return next(iter(self.runs(1)), None)

    def runs(self, most: int = 50) -> list[Run]:
        """The newest backups, newest first; raises Failure where they are hidden."""
        answer = self._instance.get(f"/backupRuns?maxResults={most}")
        if isinstance(answer, Refusal):
            what, fix = cause(self._database, answer)
            raise Failure(f"{what}.", answer.words, fix)
        return [read_run(run) for run in answer.get("items", [])[:most]]

    def _timed_out(self, why: str) -> TimedOut:
        return TimedOut(
            f"The backup of {self._database.instance} was not there within {self._instance.limit:g} s: "
            f"{self._purpose.without}.",
            why,
            f"{with_flags('gcloud sql operations list', self._database)}; "
            f"time_limits.backup sets how long to wait.\n{_by_hand(self._database, self._purpose)}",
        )


def read_run(run: Mapping[str, Any]) -> Run:
    """One backup of the list."""
    enqueued = datetime.fromisoformat(run["enqueuedTime"])
    return Run(str(run["id"]), enqueued, run["status"], run.get("type", ""), run.get("description", ""))


def read_begun(database: Database, operation: Mapping[str, Any], purpose: Purpose = MIGRATION) -> Begun:
    """The backup behind an operation; raises Failure where the answer is no such thing."""
    name, number = operation.get("name"), (operation.get("backupContext") or {}).get("backupId")
    if not name or not number:
        raise Failure(
            f"Cloud SQL's answer about the backup of {database.instance} names no backup: {purpose.without}.",
            f"It has {', '.join(sorted(operation))}.",
            _by_hand(database, purpose),
        )
    return Begun(str(name), str(number))


def require_success(
    database: Database, begun: Begun, operation: Mapping[str, Any], purpose: Purpose = MIGRATION
) -> None:
    """Raise Failure where a finished operation ended with errors."""
    if why := errors_of(operation):
        what = f"Backup {begun.id} of {database.instance} failed: {purpose.without}."
        raise Failure(what, why, _by_hand(database, purpose))


def refused(database: Database, answer: Refusal, purpose: Purpose = MIGRATION) -> Failure:
    """A refusal as a failure, with the command that fixes it."""
    what, fix = cause(database, answer)
    return Failure(
        f"{what}: no backup was taken, and {purpose.without}.",
        answer.words,
        f"{fix}\n{_by_hand(database, purpose)}",
    )


def cause(database: Database, answer: Refusal) -> tuple[str, str]:
    """What a refusal means, without a full stop, and the command that fixes it."""
    instance, project = database.instance, f"--project={database.project}"
    start = f"gcloud sql instances patch {database.name} {project} --activation-policy=ALWAYS"
    wrong_state = (f"{instance} is not in a state to be backed up", f"Where it is stopped: {start}")
    if answer.reasons & NOT_ENABLED:
        return how_to_enable(database.project)
    if answer.reasons & NO_QUOTA:
        return (
            f"Quota does not allow a backup of {instance}",
            with_flags("gcloud sql backups list", database),
        )
    by_status = {
        400: wrong_state,
        401: ("Cloud SQL does not accept the credentials", "gcloud auth application-default login"),
        403: (
            f"The credentials may not back {instance} up",
            f"{shlex.join(make_role(database.project))}\n"
            f"{' '.join(grant_role(database.project, 'serviceAccount:…'))}",
        ),
        404: (f"There is no Cloud SQL instance {instance}", f"gcloud sql instances list {project}"),
        409: wrong_state,
        412: wrong_state,
    }
    unknown = (f"Cloud SQL answered {answer.status} when asked to back {instance} up", "Deploy again.")
    return by_status.get(answer.status, unknown)


def _ask_owner(database: Database, run: Run) -> str:
    """The command for somebody who may restore: no role of this project contains that right."""
    command = (
        "gcloud", "sql", "backups", "restore", run.id, f"--restore-instance={database.name}",
        f"--project={database.project}",
    )  # fmt: skip
    return f"Somebody with cloudsql.instances.restoreBackup can run: {shlex.join(command)}"


def _by_hand(database: Database, purpose: Purpose) -> str:
    return f"Or by hand: {with_flags('gcloud sql backups create', database)}{purpose.afterwards}."


def make_role(project: str) -> tuple[str, ...]:
    """The command that makes the role."""
    return (
        "gcloud", "iam", "roles", "create", ROLE, f"--project={project}", "--title=Lookit database backup",
        "--stage=GA", f"--permissions={','.join(PERMISSIONS)}",
    )  # fmt: skip


def grant_role(project: str, member: str) -> tuple[str, ...]:
    """The command that grants the role in `project`."""
    return (
        "gcloud", "projects", "add-iam-policy-binding", project, f"--member={member}",
        f"--role=projects/{project}/roles/{ROLE}", "--condition=None",
    )  # fmt: skip
