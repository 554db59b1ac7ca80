"""A one-off command: a Job from web's own pod template, streamed, removed, and kept in a history.

The history is one ConfigMap with a key for each run, so runs at the same time do not overwrite each other.
"""

import copy
import json
import shlex
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

from tasks.lib import signals
from tasks.lib.cluster import gke
from tasks.lib.cluster.api import HURRIED, MERGE_PATCH, Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy.lock.holder import claim
from tasks.lib.deploy.maintenance import WEB, is_of
from tasks.lib.deploy.rollout import diagnose
from tasks.lib.deploy.rollout.cluster_view import Warnings
from tasks.lib.deploy.rollout.logs import follow, pods_of_job
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.operate import workloads
from tasks.lib.redaction import Redactor
from tasks.lib.settings.model import Environment, Settings

LABEL: Final = "lookit-orchestrator/run"
# The annotation of a Job that nobody waits for.
DETACHED: Final = "lookit-orchestrator/detached"
HISTORY: Final = "lookit-orchestrator-runs"
KEPT: Final = 50
# A Job whose task was killed, or that was detached, goes by itself a day after its end.
SECONDS_TO_LIVE: Final = 24 * 3600
PAUSE: Final = 0.5
RUNNING: Final = "running"
NOTHING: Final[Mapping[str, str]] = {}
# What a container that runs to its end has no use for.
OF_A_SERVER: Final = ("args", "ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle")


@dataclass(frozen=True)
class Run:
    """One command, as the history keeps it."""

    name: str
    who: str
    command: str
    began: str
    ended: str = ""
    result: str = RUNNING  # or `exit code 0`, `interrupted`, `failed: …`


def run(
    settings: Settings, environment: Environment, command: Sequence[str], show: Callable[[str], None]
) -> int:
    """Run a command in a pod like web's, show what it writes, and return its exit code; nothing of it stays.

    Raises:
        UsageError: there is no command.
        Failure: its pod cannot start, or the cluster refuses it.

    """
    with _begun(settings, environment, command) as (connection, job, one, redactor):
        try:
            code = _watched(settings, connection.api, job, lambda line: show(redactor.text(line)))
        except BaseException as end:
            _end(connection.api, environment, job, one, _told(end, redactor))
            raise
        _end(connection.api, environment, job, one, f"exit code {code}")
        return code


def detach(settings: Settings, environment: Environment, command: Sequence[str]) -> str:
    """Start a command in a pod like web's and leave it; returns its name, by which `runs` shows it."""
    with _begun(settings, environment, command, {DETACHED: "true"}) as (_, _, one, _):
        return one.name


def runs(settings: Settings, environment: Environment) -> list[Run]:
    """The runs that are remembered, the newest first."""
    with gke.reached(settings, environment) as connection:
        gke.check_mark(connection.api, environment)
        kept = _history(connection.api, environment)
        jobs, _ = connection.api.list(_jobs(environment), doing="list jobs", query={"labelSelector": LABEL})
    there = {one["metadata"]["name"]: one for one in jobs}
    return [as_it_is(one, there.get(one.name)) for one in kept]


def as_it_is(one: Run, job: Json | None) -> Run:
    """A run with what its Job says, where nobody waited for it."""
    if one.result != RUNNING:
        return one
    if job is None:
        return replace(one, result="unknown: its task was killed, and its Job is gone")
    status = job.get("status") or {}
    if status.get("succeeded"):
        return replace(one, ended=str(status.get("completionTime") or ""), result="exit code 0")
    return replace(one, result="failed") if status.get("failed") else one


def is_attended(job: Json) -> bool:
    """Whether a Job is of a task that waits for it and removes it, or did so until it was killed."""
    metadata = job["metadata"]
    return LABEL in (metadata.get("labels") or {}) and DETACHED not in (metadata.get("annotations") or {})


def job_of(
    web: Json, command: Sequence[str], name: str, image: str, own: Mapping[str, str] = NOTHING
) -> Json:
    """A Job that runs `command` once in a pod like those of `web`; `own` are its annotations.

    Its labels are its own, so that no Service sends requests to it and no selector counts it.
    """
    template = copy.deepcopy(web["spec"]["template"])
    spec, notes = template["spec"], (template.get("metadata") or {}).get("annotations") or {}
    containers = [one for one in spec["containers"] if is_of(one, image)] or spec["containers"]
    main = {key: value for key, value in containers[0].items() if key not in OF_A_SERVER}
    spec |= {"containers": [{**main, "command": list(command)}], "restartPolicy": "Never"}
    namespace = web["metadata"]["namespace"]
    metadata = {"name": name, "namespace": namespace, "labels": {LABEL: name}, "annotations": dict(own)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": SECONDS_TO_LIVE,
            "template": {"metadata": {"labels": {LABEL: name}, "annotations": notes}, "spec": spec},
        },
    }


def exit_code(pod: Json) -> int | None:
    """The exit code of a pod's container; None while it runs."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    ended = [end for one in statuses if (end := (one.get("state") or {}).get("terminated"))]
    return int(ended[0]["exitCode"]) if ended else None


@contextmanager
def _begun(
    settings: Settings, environment: Environment, command: Sequence[str], own: Mapping[str, str] = NOTHING
) -> Iterator[tuple[Connection, Json, Run, Redactor]]:
    """The Job, created and noted in the history."""
    if not command:
        raise UsageError(
            "No command was given.", "", "For example: ./inv app.run -e staging -- python manage.py check"
        )
    with workloads.reached(settings, environment) as (connection, redactor):
        api = connection.api
        [web] = workloads.find(settings, environment, connection, [WEB])
        name = f"{environment.prefix}run-{uuid.uuid4().hex[:8]}"
        body = job_of(web, command, name, settings.image.repository, own)
        who = claim({}).holder.partition(" (")[0]
        one = Run(name, who, redactor.line(shlex.join(command)), _now())
        _note(api, environment, one)
        try:
            job = api.request("POST", _jobs(environment), doing=f"create Job {name}", body=body)
        except Failure as failure:
            _note(api, environment, replace(one, ended=_now(), result=_told(failure, redactor)))
            raise
        yield connection, job, one, redactor


def _watched(settings: Settings, api: Api, job: Json, show: Callable[[str], None]) -> int:
    """Show what the Job's container writes; returns its exit code."""
    namespace, uid = job["metadata"]["namespace"], job["metadata"]["uid"]
    pod = _started(settings, api, namespace, uid)
    stop = threading.Event()
    follow(api, pod["metadata"], pod["spec"]["containers"][0]["name"], lambda _, line: show(line), stop)
    while True:
        pods = pods_of_job(api, namespace, uid)
        if pods and (code := exit_code(pods[0])) is not None:
            return code
        if not pods:
            raise Failure(
                "The pod of the command is gone.", "Its Job or its node was removed.", "Run it again."
            )
        signals.sleep(PAUSE)


def _started(settings: Settings, api: Api, namespace: str, uid: str) -> Json:
    """The Job's pod once its container runs, or ran.

    Raises:
        Failure: it cannot start.
        TimedOut: it did not start within time_limits.rollout.

    """
    waited = 0.0
    while waited < settings.time_limits.rollout:
        for pod in pods_of_job(api, namespace, uid):
            statuses = (pod.get("status") or {}).get("containerStatuses") or []
            if any((one.get("state") or {}).keys() & {"running", "terminated"} for one in statuses):
                return pod
            problems = [one for one in diagnose.of_pod(pod, _warnings(api, pod)) if one.is_lasting]
            if problems and waited >= problems[0].patience:
                raise Failure(
                    "The command cannot start.", str(problems[0]), "docs/on-call.md says what it means."
                )
        signals.sleep(PAUSE)
        waited += PAUSE
    raise TimedOut(
        f"The command did not start within {settings.time_limits.rollout:g} s.",
        "",
        "./inv status shows the nodes.",
    )


def _warnings(api: Api, pod: Json) -> list[Json]:
    warnings = Warnings()
    query = {"fieldSelector": f"involvedObject.uid={pod['metadata']['uid']},type=Warning"}
    events, _ = api.list(
        f"/api/v1/namespaces/{pod['metadata']['namespace']}/events", doing="list events", query=query
    )
    for event in events:
        warnings.put(event, arrived=True)
    return warnings.about(pod)


def _end(api: Api, environment: Environment, job: Json, one: Run, result: str) -> None:
    """Remove the Job with its pod, and note how it ended; what that meets does not hide how it ended."""
    with signals.uninterrupted(), suppress(Failure):
        brisk = api.patient(HURRIED)
        _note(brisk, environment, replace(one, ended=_now(), result=result))
        path = f"{_jobs(environment)}/{job['metadata']['name']}"
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        brisk.request("DELETE", path, doing="remove the Job", body=options)


def _told(end: BaseException, redactor: Redactor) -> str:
    return f"failed: {redactor.line(end.what)}" if isinstance(end, Failure) else "interrupted"


def _note(api: Api, environment: Environment, one: Run) -> None:
    """Write a run into the history, and forget the oldest."""
    path = f"/api/v1/namespaces/{environment.namespace}/configmaps"
    known = _history(api, environment)
    old = {run.name: None for run in known[KEPT - 1 :] if run.name != one.name}
    body = {"data": {**old, one.name: json.dumps(asdict(one))}}
    if known:
        api.request("PATCH", f"{path}/{HISTORY}", doing="note the run", body=body, content_type=MERGE_PATCH)
        return
    new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": HISTORY}, **body}
    try:
        api.request("POST", path, doing="note the run", body=new)
    except ApiError as error:
        if error.status != 409:  # another was the first
            raise
        api.request("PATCH", f"{path}/{HISTORY}", doing="note the run", body=body, content_type=MERGE_PATCH)


def _history(api: Api, environment: Environment) -> list[Run]:
    try:
        found = api.get(
            f"/api/v1/namespaces/{environment.namespace}/configmaps/{HISTORY}", doing="read the runs"
        )
    except ApiError as error:
        if error.status != 404:
            raise
        return []
    return read(found.get("data") or {})


def read(data: Mapping[str, str]) -> list[Run]:
    """The runs in a ConfigMap, the newest first; what somebody damaged is left out."""
    found = []
    for text in data.values():
        with suppress(ValueError, TypeError):
            found.append(Run(**json.loads(text)))
    return sorted(found, key=lambda one: one.began, reverse=True)


def _jobs(environment: Environment) -> str:
    return f"/apis/batch/v1/namespaces/{environment.namespace}/jobs"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
