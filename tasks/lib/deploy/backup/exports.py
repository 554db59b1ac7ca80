"""Dumps of a database into a bucket, made by Cloud SQL itself, through the Cloud SQL Admin API.

Source: https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances/export
"""

import shlex
from typing import TYPE_CHECKING, Final

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
from tasks.lib.settings.model import Environment, Settings

if TYPE_CHECKING:
    from requests import Session

# Who exports needs these.
PERMISSIONS: Final = ("cloudsql.instances.export", "cloudsql.instances.get")
# And the instance's service account this, on the bucket: the smallest that may create and delete objects.
ROLE: Final = "roles/storage.objectUser"


class Export:
    """Exports of one environment's database."""

    def __init__(self, settings: Settings, environment: Environment, session: "Session", tell: Tell) -> None:
        self._environment, self._database, self._tell = environment, environment.database, tell
        busy = Notice(f"{self._database.instance} is busy with another operation; waiting …")
        self._instance = Instance(settings, self._database, session, lambda: tell(busy))

    def write(self, database: str, address: str) -> str:
        """Export `database`, wait until that is done, and return its address.

        Raises:
            Failure: it is refused, or it failed.
            TimedOut: it takes too long.

        """
        context = {"fileType": "SQL", "uri": address, "databases": [database]}
        match self._instance.start("export", {"exportContext": context}):
            case Refusal() as answer:
                raise self._refused(answer)
            case Late(status):
                raise self._late("did not begin", status)
            case begun:
                self._tell(Notice(f"the export of {self._database.instance} is in progress …"))
                self._finish(str(begun.get("name", "")), address)
        return address

    def _finish(self, operation: str, address: str) -> None:
        look = with_flags("gcloud sql operations list", self._database)
        match self._instance.follow(operation):
            case Refusal() as answer:
                raise Failure("The export cannot be followed; it goes on.", answer.words, look)
            case Late(status):
                raise self._late("was not complete", f"It is {status}.")
            case ended:
                if why := errors_of(ended):
                    what = f"The export of {self._database.instance} to {address} failed."
                    raise Failure(what, why, self._fix(why) or look)

    def _late(self, what: str, status: str) -> TimedOut:
        look = with_flags("gcloud sql operations list", self._database)
        return TimedOut(
            f"The export of {self._database.instance} {what} within {self._instance.limit:g} s.",
            status,
            f"{look}; time_limits.backup sets how long to wait.",
        )

    def _refused(self, answer: Refusal) -> Failure:
        what, fix = cause(self._environment, answer)
        return Failure(f"{what}: nothing was exported.", answer.words, self._fix(answer.words) or fix)

    def _fix(self, words: str) -> str:
        """What lets the instance's service account write, where Cloud SQL says that it may not."""
        return grant(self._environment, self._service_account()) if is_about_the_account(words) else ""

    def _service_account(self) -> str:
        match self._instance.get():
            case Refusal():
                return ""
            case found:
                return str(found.get("serviceAccountEmailAddress", ""))


def is_about_the_account(words: str) -> bool:
    """Whether Cloud SQL complains of what the instance's own service account may do."""
    return "service account" in words.lower()


def cause(environment: Environment, answer: Refusal) -> tuple[str, str]:
    """What a refusal means, without a full stop, and what to do about it."""
    database, bucket = environment.database, environment.buckets.private
    project = f"--project={database.project}"
    if answer.reasons & NOT_ENABLED:
        return how_to_enable(database.project)
    if is_about_the_account(answer.words):
        return f"{database.instance} may not write to gs://{bucket}", ""
    if answer.status == 404 and "bucket" in answer.words.lower():
        fix = (
            f"Fix environments.{environment.name}.buckets.private in invoke.yaml, or create it: "
            f"./inv setup --environment {environment.name} shows how"
        )
        return f"There is no bucket gs://{bucket}", fix
    by_status = {
        401: ("Cloud SQL does not accept the credentials", "gcloud auth application-default login"),
        403: (
            f"The credentials may not export {database.instance}",
            f"Somebody may give you a role with {' and '.join(PERMISSIONS)}.",
        ),
        404: (f"There is no Cloud SQL instance {database.instance}", f"gcloud sql instances list {project}"),
    }
    unknown = (
        f"Cloud SQL answered {answer.status} when asked to export {database.instance}",
        f"Is it running? gcloud sql instances describe {database.name} {project}",
    )
    return by_status.get(answer.status, unknown)


def grant(environment: Environment, account: str) -> str:
    """The command that lets the instance's service account write exports; `account` may be unknown."""
    argv = (
        "gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{environment.buckets.private}",
        f"--member=serviceAccount:{account or 'ADDRESS'}", f"--role={ROLE}",
    )  # fmt: skip
    if account:
        return shlex.join(argv)
    both = f"{shlex.join(show_account(environment))} && {shlex.join(argv)}"
    return f"ADDRESS is what the first of these prints: {both}"


def show_account(environment: Environment) -> tuple[str, ...]:
    """The command that prints the address of the instance's service account."""
    return (
        "gcloud", "sql", "instances", "describe", environment.database.name,
        f"--project={environment.database.project}", "--format=value(serviceAccountEmailAddress)",
    )  # fmt: skip
