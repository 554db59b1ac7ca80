"""The part of the Cloud SQL Admin API (v1) that backups, restores and dumps need.

A backup takes SECONDS: its operation is PENDING, then RUNNING, then DONE. An instance can be told to fail its
next backups (`fail`: their operations end with an error), to refuse them (`refuse`), or to take longer for
its next restores (`slow_down`).
"""

import datetime
import json
import secrets
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox.cloud import dumps
from sandbox.cloud.answers import Answer, error
from tasks.lib.files import write_atomically

SECONDS = 1.0
SERVICE_ACCOUNT = "p123456789012-abcdef@gcp-sa-cloud-sql.iam.gserviceaccount.com"
# Why Google refuses to begin a backup: the HTTP status, the reason and the message of its answer.
REFUSALS = {
    "disabled": (
        403,
        "accessNotConfigured",
        "Cloud SQL Admin API has not been used in project 123456789012 before or it is disabled. Enable "
        "it by visiting https://console.developers.google.com/apis/api/sqladmin.googleapis.com/overview "
        "then retry.",
    ),
    "stopped": (400, "invalidState", "Invalid request: Invalid request since instance is not running."),
    "busy": (
        409,
        "operationInProgress",
        "Operation failed because another operation was already in progress. Try your request after the "
        "current operation is complete.",
    ),
    "quota": (403, "quotaExceeded", "Quota exceeded for the number of on-demand backups."),
    "no-right-to-the-bucket": (
        403,
        "notAuthorized",
        f"gs://the-bucket/: Access denied for service account {SERVICE_ACCOUNT}, permissions missing are: "
        "[storage.objects.create]",
    ),
    "overloaded": (503, "backendError", "The service is currently unavailable."),
}
API = "https://sqladmin.googleapis.com/v1"
_one_writer = threading.Lock()


@dataclass(frozen=True)
class Login:
    """A database, and a user of it."""

    database: str
    user: str
    password: str


def register(google: Path, project: str, instance: str) -> None:
    """Make the API know an instance; one that it knows keeps its backups."""
    with _changing(google, project, instance):
        pass


def is_known(google: Path, project: str, instance: str) -> bool:
    """Whether there is such an instance."""
    return _read(google, project, instance) is not None


def login(google: Path, project: str, instance: str) -> Login:
    """How the site logs in to an instance's database; made once, as a project's owner does on Google."""
    with _changing(google, project, instance) as known:
        found = known.setdefault("login", asdict(new_login()))
    return Login(**found)


def new_login() -> Login:
    """A login with a new password."""
    return Login("lookit", "lookit", secrets.token_hex(16))


def fail(google: Path, project: str, instance: str, message: str) -> None:
    """Make backups of an instance that begin from now on fail with `message`; empty: succeed again."""
    with _changing(google, project, instance) as known:
        known["fail"] = message


def slow_down(google: Path, project: str, instance: str, seconds: float) -> None:
    """Make restores into an instance that begin from now on take so many seconds."""
    with _changing(google, project, instance) as known:
        known["seconds_to_restore"] = seconds


def refuse(google: Path, project: str, instance: str, *how: str) -> None:
    """Refuse the next backups of an instance, one after the other, as REFUSALS says."""
    with _changing(google, project, instance) as known:
        known["refuse"] = list(how)


def insert(google: Path, body: bytes, project: str, instance: str) -> Answer:
    """`backupRuns.insert`: begin an on-demand backup; answers its operation."""
    if _read(google, project, instance) is None:
        return no_instance()
    with _changing(google, project, instance) as known:
        if known["refuse"]:
            return _refusal(*REFUSALS[known["refuse"].pop(0)])
        run = {
            "id": str(int(time.time() * 1000)),
            "operation": str(uuid.uuid4()),
            "began": time.time(),
            "description": _description(body),
            "fail": known["fail"],
        }
        known["runs"].append(run)
    return Answer(200, operation(project, instance, run, run["began"]))


def restore(google: Path, body: bytes, project: str, instance: str) -> Answer:
    """`instances.restoreBackup`: begin to replace the data; answers its operation.  No data are kept here."""
    known = _read(google, project, instance)
    if known is None:
        return no_instance()
    wanted = str(json.loads(body)["restoreBackupContext"]["backupRunId"])
    if wanted not in {run["id"] for run in known["runs"]}:
        return error(404, "The specified backup run does not exist.")
    with _changing(google, project, instance) as known:
        if known["refuse"]:
            return _refusal(*REFUSALS[known["refuse"].pop(0)])
        begun = {
            "operation": str(uuid.uuid4()),
            "began": time.time(),
            "restored": wanted,
            "fail": known["fail"],
            "seconds": known.get("seconds_to_restore", SECONDS),
        }
        known.setdefault("restores", []).append(begun)
    return Answer(200, operation(project, instance, begun, begun["began"]))


def restored(google: Path, project: str, instance: str) -> list[str]:
    """The backups that were restored into an instance, in order."""
    known = _read(google, project, instance) or {}
    return [str(one["restored"]) for one in known.get("restores", [])]


def export(google: Path, body: bytes, project: str, instance: str) -> Answer:
    """`instances.export`: write a dump into a bucket; answers its operation.

    The dump only says of which database it is: no data are kept here.
    """
    known = _read(google, project, instance)
    if known is None:
        return no_instance()
    context = json.loads(body)["exportContext"]
    if context.get("fileType") != "SQL" or len(context.get("databases", [])) != 1:
        return error(400, "Invalid request: exactly one database is exported to a file of type SQL.")
    bucket, _, name = str(context["uri"]).removeprefix("gs://").partition("/")
    if not dumps.has_bucket(google, bucket):
        return error(404, dumps.NO_BUCKET)
    with _changing(google, project, instance) as known:
        if known["refuse"]:
            return _refusal(*REFUSALS[known["refuse"].pop(0)])
        fail = known["fail"] or dumps.write(google, bucket, name, f"-- A dump of {context['databases'][0]}\n")
        begun = {"operation": str(uuid.uuid4()), "began": time.time(), "uri": context["uri"], "fail": fail}
        known.setdefault("exports", []).append(begun)
    return Answer(200, operation(project, instance, begun, begun["began"]))


def get(google: Path, project: str, instance: str) -> Answer:
    """`instances.get`: what is asked of it here, the instance's service account."""
    if not is_known(google, project, instance):
        return no_instance()
    return Answer(
        200,
        {
            "kind": "sql#instance",
            "name": instance,
            "project": project,
            "state": "RUNNABLE",
            "serviceAccountEmailAddress": SERVICE_ACCOUNT,
        },
    )


def list_runs(google: Path, project: str, instance: str) -> Answer:
    """`backupRuns.list`, newest first, in one page."""
    known = _read(google, project, instance)
    if known is None:
        return no_instance()
    items = [backup_run(project, instance, run, time.time()) for run in reversed(known["runs"])]
    return Answer(200, {"kind": "sql#backupRunsList", "items": items})


def get_operation(google: Path, project: str, name: str) -> Answer:
    """`operations.get`."""
    for path in sorted((google / "sql").glob(f"{project}_*.json")):
        known = json.loads(path.read_text())
        for run in [*known["runs"], *known.get("restores", []), *known.get("exports", [])]:
            if run["operation"] == name:
                instance = path.stem.removeprefix(f"{project}_")
                return Answer(200, operation(project, instance, run, time.time()))
    return error(404, "The Cloud SQL operation does not exist.")


def operation(project: str, instance: str, run: dict[str, Any], now: float) -> dict[str, Any]:
    """The resource `Operation` of a backup, a restore or an export at the time `now`."""
    age, seconds = now - run["began"], run.get("seconds", SECONDS)
    kinds = {"restored": "RESTORE_VOLUME", "uri": "EXPORT"}
    found: dict[str, Any] = {
        "kind": "sql#operation",
        "name": run["operation"],
        "operationType": next((kind for key, kind in kinds.items() if key in run), "BACKUP_VOLUME"),
        "status": "DONE" if age >= seconds else "RUNNING" if age >= SECONDS / 4 else "PENDING",
        "insertTime": _stamp(run["began"]),
        "targetId": instance,
        "targetProject": project,
        "targetLink": f"{API}/projects/{project}/instances/{instance}",
        "selfLink": f"{API}/projects/{project}/operations/{run['operation']}",
    }
    if "id" in run:
        found["backupContext"] = {"kind": "sql#backupContext", "backupId": run["id"]}
    if found["status"] != "PENDING":
        found["startTime"] = _stamp(run["began"] + SECONDS / 4)
    if found["status"] == "DONE":
        found["endTime"] = _stamp(run["began"] + seconds)
        if run["fail"]:
            found["error"] = {"kind": "sql#operationErrors", "errors": [_operation_error(run)]}
    return found


def backup_run(project: str, instance: str, run: dict[str, Any], now: float) -> dict[str, Any]:
    """The resource `BackupRun` of a backup at the time `now`."""
    status = operation(project, instance, run, now)["status"]
    ended = "FAILED" if run["fail"] else "SUCCESSFUL"
    found: dict[str, Any] = {
        "kind": "sql#backupRun",
        "id": run["id"],
        "status": {"PENDING": "ENQUEUED", "RUNNING": "RUNNING"}.get(status, ended),
        "enqueuedTime": _stamp(run["began"]),
        "type": "ON_DEMAND",
        "description": run["description"],
        "instance": instance,
        "location": "us-east1",
        "databaseVersion": "POSTGRES_17",
        "backupKind": "SNAPSHOT",
        "selfLink": f"{API}/projects/{project}/instances/{instance}/backupRuns/{run['id']}",
    }
    if status == "DONE":
        found["endTime"] = _stamp(run["began"] + SECONDS)
        if run["fail"]:
            found["error"] = _operation_error(run)
    return found


def _refusal(status: int, reason: str, message: str) -> Answer:
    """An error as the Cloud SQL Admin API spells it: with a list of reasons."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return Answer(status, {"error": {"code": status, "message": message, "errors": errors}})


def _operation_error(run: dict[str, Any]) -> dict[str, str]:
    return {"kind": "sql#operationError", "code": "INTERNAL_ERROR", "message": run["fail"]}


def no_instance() -> Answer:
    """What Google answers for an instance that is not there, whoever asks."""
    return error(404, "The Cloud SQL instance does not exist.")


def _description(body: bytes) -> str:
    try:
        return str(json.loads(body or b"{}").get("description", ""))
    except (ValueError, AttributeError):
        return ""


def _stamp(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _path(google: Path, project: str, instance: str) -> Path:
    return google / "sql" / f"{project}_{instance}.json"


def _read(google: Path, project: str, instance: str) -> dict[str, Any] | None:
    path = _path(google, project, instance)
    return dict(json.loads(path.read_text())) if path.exists() else None


@contextmanager
def _changing(google: Path, project: str, instance: str) -> Iterator[dict[str, Any]]:
    """What is known of an instance, to change while inside."""
    with _one_writer:
        known = _read(google, project, instance) or {"fail": "", "refuse": [], "runs": []}
        yield known
        write_atomically(_path(google, project, instance), json.dumps(known).encode())
