"""An on-demand backup of a Cloud SQL instance, through the Cloud SQL Admin API.

Source: https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1/backupRuns/insert and …/operations/get
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tasks.lib import signals
from tasks.lib.background import call
from tasks.lib.deploy.events import Notice, Tell
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.google.answers import refusal_words
from tasks.lib.retry import TEMPORARY, Attempts
from tasks.lib.settings.model import Database, Settings

if TYPE_CHECKING:
    from requests import Response, Session

# The right to back a database up, as a role of its own: predefined ones may change the instance as well.
ROLE: Final = "lookitDatabaseBackup"
# Taking a backup, following its operation, and, for the doctor, showing the latest.
PERMISSIONS: Final = ("cloudsql.backupRuns.create", "cloudsql.backupRuns.list", "cloudsql.instances.get")
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
BUSY: Final = "operationInProgress"
TOO_OFTEN: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
NO_QUOTA: Final = frozenset({"quotaExceeded", "dailyLimitExceeded"})
NOT_ENABLED: Final = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})


@dataclass(frozen=True)
class Begun:
    """A backup that was asked for: the name of its operation, and its own id."""

    operation: str
    id: str


@dataclass(frozen=True)
class Refusal:
    """What the API answered instead: its status, its words, and Google's short reasons."""

    status: int
    words: str
    reasons: frozenset[str] = frozenset()

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in TEMPORARY or bool(self.reasons & {BUSY, *TOO_OFTEN})


class Backups:
    """Backups of one database."""

    def __init__(self, settings: Settings, database: Database, session: "Session", tell: Tell) -> None:
        self._root = f"{settings.google.sql_admin}/v1/projects/{database.project}"
        self._database, self._session, self._tell = database, session, tell
        self._attempt, self._limit = settings.time_limits.backup_attempt, settings.time_limits.backup

    def begin(self, description: str) -> Begun:
        """Ask for a backup.  Where an answer is lost, asking again may leave two, which harms nobody.

        Raises Failure where it is refused; the message says what to do. Raises TimedOut where the instance is
        busy with something else for too long.
        """
        url = f"{self._root}/instances/{self._database.name}/backupRuns"
        said = False
        for _ in self._pauses():
            answer = self._ask("POST", url, {"description": description})
            if not isinstance(answer, Refusal):
                return read_begun(self._database, answer)
            if not answer.passes:
                raise refused(self._database, answer)
            if BUSY in answer.reasons and not said:
                said = True
                self._tell(Notice(f"{self._database.instance} is busy with another operation; waiting …"))
            last = answer
        raise self._timed_out(f"It answered {last.status}: {last.words}")

    def finish(self, begun: Begun) -> None:
        """Wait until the backup is there; raises Failure where it failed, TimedOut where it is late."""
        url, status = f"{self._root}/operations/{begun.operation}", "unknown"
        for _ in self._pauses():
            answer = self._ask("GET", url, None)
            if isinstance(answer, Refusal):
                if not answer.passes:
                    raise refused(self._database, answer)
                status = f"unknown, the API answers {answer.status}"
                continue
            status = str(answer.get("status", "unknown"))
            if status == "DONE":
                require_success(self._database, begun, answer)
                return
        raise self._timed_out(f"Backup {begun.id} is {status}.")

    def latest(self) -> str:
        """When the newest backup began and how it ended, or nothing; raises Failure where it is hidden."""
        url = f"{self._root}/instances/{self._database.name}/backupRuns?maxResults=1"
        answer = self._ask("GET", url, None)
        if isinstance(answer, Refusal):
            what, fix = cause(self._database, answer)
            raise Failure(f"{what}.", answer.words, fix)
        return " ".join(
            f"{run.get('enqueuedTime', '')} {run.get('status', '')}" for run in answer.get("items", [])[:1]
        )

    def _pauses(self) -> Iterator[None]:
        """Try at once, then with growing pauses until the time is over."""
        attempts = Attempts(self._limit, FIRST_PAUSE, LONGEST_PAUSE)
        yield
        while (pause := attempts.pause()) is not None:
            signals.sleep(pause)
            yield

    def _ask(self, method: str, url: str, body: object) -> Mapping[str, Any] | Refusal:
        import requests

        try:
            answer = call(self._session.request, method, url, json=body, timeout=self._attempt)
            return answer.json() if answer.status_code == 200 else refusal(answer)
        except requests.RequestException as error:  # an answer that is no JSON is one too
            return Refusal(503, f"{type(error).__name__}: {error}")

    def _timed_out(self, why: str) -> TimedOut:
        return TimedOut(
            f"The backup of {self._database.instance} was not there within {self._limit:g} s: "
            "no migration was started.",
            why,
            f"{_flags('gcloud sql operations list', self._database)}; "
            f"time_limits.backup sets how long to wait.\n{_by_hand(self._database)}",
        )


def refusal(answer: "Response") -> Refusal:
    """Read an error as Google's APIs spell it, the older reasons and the newer details."""
    reasons: set[str] = set()
    try:
        error = answer.json()["error"]
        reasons = {str(one.get("reason")) for one in [*error.get("errors", []), *error.get("details", [])]}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return Refusal(answer.status_code, refusal_words(answer), frozenset(reasons))


def read_begun(database: Database, operation: Mapping[str, Any]) -> Begun:
    """The backup behind an operation; raises Failure where the answer is no such thing."""
    name, number = operation.get("name"), (operation.get("backupContext") or {}).get("backupId")
    if not name or not number:
        raise Failure(
            f"Cloud SQL's answer about the backup of {database.instance} names no backup: "
            "no migration was started.",
            f"It has {', '.join(sorted(operation))}.",
            _by_hand(database),
        )
    return Begun(str(name), str(number))


def require_success(database: Database, begun: Begun, operation: Mapping[str, Any]) -> None:
    """Raise Failure where a finished operation ended with errors."""
    errors = (operation.get("error") or {}).get("errors") or []
    if errors:
        told = (f"{error.get('code', '')}: {error.get('message', '')}".strip(": ") for error in errors)
        raise Failure(
            f"Backup {begun.id} of {database.instance} failed: no migration was started.",
            "\n".join(told),
            _by_hand(database),
        )


def refused(database: Database, answer: Refusal) -> Failure:
    """A refusal as a failure, with the command that fixes it."""
    what, fix = cause(database, answer)
    return Failure(
        f"{what}: no backup was taken, and no migration was started.",
        answer.words,
        f"{fix}\n{_by_hand(database)}",
    )


def cause(database: Database, answer: Refusal) -> tuple[str, str]:
    """What a refusal means, without a full stop, and the command that fixes it."""
    instance, project = database.instance, f"--project={database.project}"
    start = f"gcloud sql instances patch {database.name} {project} --activation-policy=ALWAYS"
    wrong_state = (f"{instance} is not in a state to be backed up", f"Where it is stopped: {start}")
    if answer.reasons & NOT_ENABLED:
        return (
            f"The Cloud SQL Admin API is not enabled in project {database.project}",
            f"gcloud services enable sqladmin.googleapis.com {project}",
        )
    if answer.reasons & NO_QUOTA:
        return (f"Quota does not allow a backup of {instance}", _flags("gcloud sql backups list", database))
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


def _flags(command: str, database: Database) -> str:
    return f"{command} --instance={database.name} --project={database.project}"


def _by_hand(database: Database) -> str:
    return f"Or by hand: {_flags('gcloud sql backups create', database)}, then deploy with --no-backup."


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
