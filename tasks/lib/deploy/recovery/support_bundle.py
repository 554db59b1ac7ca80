"""A support bundle of a failed deploy: a folder with what a rollback would sweep away.

The record, the events of the namespace, every touched object and the pods of touched workloads as YAML, and
the logs of containers that are not well, of this run and the one before.  Secret values are blanked out.

It is copied to a bucket on request: a pipeline's workspace is gone when its build fails, and Cloud Build
keeps artifacts only of builds that succeed.
"""

import datetime
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tasks.lib import console, kubernetes_yaml
from tasks.lib.cluster.api import HURRIED, Api, Json
from tasks.lib.cluster.errors import ApiError, Unreachable
from tasks.lib.cluster.kinds import Kinds
from tasks.lib.deploy.objects import APPLIED
from tasks.lib.deploy.plan.decide import get
from tasks.lib.deploy.rollout.diagnose import last_seen
from tasks.lib.deploy.rollout.logs import owners
from tasks.lib.deploy.steps import Step
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import make_folders, write_atomically
from tasks.lib.google.answers import refusal_words
from tasks.lib.google.sessions import authorized_session
from tasks.lib.redaction import REDACTED, Redactor
from tasks.lib.settings.model import Settings

EVENTS: Final = 500
LINES: Final = 2000
BYTES: Final = 1024 * 1024
# File systems take 255 bytes, and a file that is not whole yet has a longer name.
LONGEST_FILE_NAME: Final = 200


@dataclass
class Found:
    """What was collected."""

    # Texts, or objects to be written as YAML, by their path in the folder.
    files: dict[str, str | Json] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # what could not be read, and why


def collect(
    api: Api,
    kinds: Kinds,
    namespace: str,
    touched: Sequence[Step],
    heard: Mapping[tuple[str, str], Iterable[str]],
) -> Found:
    """Read what the cluster can still tell; a source that does not answer is noted and left out."""
    # The cluster may be what is broken: only what it answers quickly is collected.
    hurried, found = api.patient(HURRIED), Found()
    try:
        _collect(hurried, kinds, namespace, touched, found)
    except Failure as problem:  # no server, or no token for it: so it would be with everything that is left
        found.missing.append(f"the rest: {problem.what} {problem.why}")
    finally:
        hurried.close()
    for (pod, container), lines in heard.items():
        found.files.setdefault(f"logs/{pod}-{container}.log", "\n".join(lines))
    return found


def _collect(api: Api, kinds: Kinds, namespace: str, touched: Sequence[Step], found: Found) -> None:
    things: list[Json] = []
    for step in touched:
        if kind := kinds.get(step.ref.key):
            with _noting(found, str(step.ref)):
                if live := get(api, kind, step.ref):
                    things.append(live)
                    where = "" if step.ref.namespace in {"", namespace} else f"{step.ref.namespace}."
                    found.files[f"objects/{where}{step.ref.kind}-{step.ref.name}.yaml"] = redacted(live)
    with _noting(found, "events"):
        events, _ = api.list(f"/api/v1/namespaces/{namespace}/events", doing="list events")
        found.files["events.txt"] = as_lines(events)
    pods: list[Json] = []
    with _noting(found, "pods"):
        pods = _pods(api, namespace, things)
    for pod in pods:
        found.files[f"pods/{pod['metadata']['name']}.yaml"] = redacted(pod)
        _collect_logs(api, pod, found)


def write(folder: Path, found: Found, facts: Mapping[str, object], redactor: Redactor) -> None:
    """Write a bundle, readable by its owner only; raises OSError where that is not possible."""
    files = {**found.files, "record.json": json.dumps(redactor.tree(facts), indent=2, default=str)}
    if found.missing:
        files["missing.txt"] = "\n".join(found.missing)
    make_folders(folder.parent)
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        path = (folder / name).with_name(file_name(Path(name).name))
        # Before YAML folds and escapes them, and again for what stands across members.
        text = content if isinstance(content, str) else kubernetes_yaml.dump(redactor.tree(content))
        write_atomically(path, (redactor.text(text).rstrip() + "\n").encode())


def folder_name(environment: str, commit: str, moment: datetime.datetime) -> str:
    """A name that sorts by time: `staging-20260131T235959.123Z-0123abc`."""
    return f"{environment}-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z-{commit[:7]}"


def file_name(name: str) -> str:
    """A name that file systems take; objects' names may be longer, and are cut then, but stay apart."""
    if len(name.encode()) <= LONGEST_FILE_NAME:
        return name
    stem, _, suffix = name.rpartition(".")
    end = f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}.{suffix}"
    return stem.encode()[: LONGEST_FILE_NAME - len(end.encode())].decode(errors="ignore") + end


def redacted(thing: Json) -> Json:
    """An object without the server's book-keeping, and a Secret without its values."""
    metadata = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    shown = {**thing, "metadata": metadata}
    if thing.get("kind") == "Secret":
        # Someone may have applied it with kubectl, which notes all it applied in an annotation.
        notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if k == APPLIED}
        shown["metadata"] = {**metadata, "annotations": notes}
        shown |= {
            part: dict.fromkeys(shown[part], REDACTED) for part in ("data", "stringData") if shown.get(part)
        }
    return shown


def as_lines(events: Sequence[Json]) -> str:
    """Events as lines, the newest last."""
    ordered = sorted(events, key=last_seen)[-EVENTS:]
    return "\n".join(
        f"{last_seen(e)}Z {e.get('type', '')} {(e.get('involvedObject') or {}).get('kind', '')}/"
        f"{(e.get('involvedObject') or {}).get('name', '')} {e.get('reason', '')}: {e.get('message', '')}"
        for e in ordered
    )


def unwell(pod: Json) -> list[tuple[str, bool]]:
    """The containers of a pod that are not well, each with whether it ran before."""
    status = pod.get("status") or {}
    found = []
    for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        ended = (one.get("state") or {}).get("terminated")
        if one.get("ready") or (ended and not ended.get("exitCode")):
            continue
        found.append((str(one["name"]), bool((one.get("lastState") or {}).get("terminated"))))
    return found


def owned(pods: Sequence[Json], sets: Sequence[Json], workloads: Collection[str]) -> list[Json]:
    """The pods that belong to workloads with these uids, directly or through a ReplicaSet."""
    through = {s["metadata"]["uid"] for s in sets if owners(s) & set(workloads)}
    return [pod for pod in pods if owners(pod) & {*workloads, *through}]


def _pods(api: Api, namespace: str, things: Sequence[Json]) -> list[Json]:
    pods, _ = api.list(f"/api/v1/namespaces/{namespace}/pods", doing="list pods")
    sets, _ = api.list(f"/apis/apps/v1/namespaces/{namespace}/replicasets", doing="list replicasets")
    return owned(pods, sets, {thing["metadata"]["uid"] for thing in things})


def _collect_logs(api: Api, pod: Json, found: Found) -> None:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
    for container, ran_before in unwell(pod):
        for previous in (False, True) if ran_before else (False,):
            query = {
                "container": container, "tailLines": str(LINES), "limitBytes": str(BYTES),
                "previous": str(previous).lower(),
            }  # fmt: skip
            suffix = ".previous.log" if previous else ".log"
            with _noting(found, f"log of {name}, container {container}{' before' if previous else ''}"):
                lines = _log(api, path, query)
                found.files[f"logs/{name}-{container}{suffix}"] = "\n".join(lines)


def _log(api: Api, path: str, query: Mapping[str, str]) -> list[str]:
    try:
        return [line.decode(errors="replace") for line in api.lines(path, query=query, idle=HURRIED.attempt)]
    except Unreachable as problem:  # a node that does not answer: others may
        return [f"({problem.why})"]


@contextmanager
def _noting(found: Found, what: str) -> Iterator[None]:
    """Note a failure and go on."""
    try:
        yield
    except ApiError as failure:
        found.missing.append(f"{what}: {failure.what} {failure.why}")


@contextmanager
def after_failure(settings: Settings, url: str, folders: list[Path]) -> Iterator[None]:
    """Copy the files that the block writes in `folders` to `url`, where it fails; nothing without a URL.

    A file keeps its path, from its folder's name on.  Raises UsageError where `url` is not
    `gs://BUCKET/FOLDER`, before anything is begun.
    """
    bucket, _, place = url.removeprefix("gs://").partition("/")
    if url and not (url.startswith("gs://") and bucket and place):
        raise UsageError(f"--evidence-bucket is {url!r}.", next_step="Name a folder: gs://BUCKET/FOLDER")
    before = _files(folders) if url else set()
    try:
        yield
    except Failure:
        if url:
            written = sorted(_files(folders) - before)
            _copy(settings, url, {path: name for path, name, _ in written})
        raise


def _files(folders: list[Path]) -> set[tuple[Path, str, int]]:
    """The files below `folders`: path, name in the bucket, time of the last change."""
    return {
        (path, str(path.relative_to(folder.parent)), path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def _copy(settings: Settings, url: str, names: dict[Path, str]) -> None:
    """Copy files to these names below `url`; a refusal is a warning only, beside how the deploy failed."""
    from requests import RequestException

    bucket, _, place = url.removeprefix("gs://").partition("/")
    objects = f"{settings.google.storage}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
    limit, problem = settings.time_limits.registry_attempt, ""
    try:
        session = authorized_session(settings.google)
        for path, name in names.items():
            query = {"uploadType": "media", "name": f"{place}/{name}"}
            answer = session.post(objects, params=query, data=path.read_bytes(), timeout=limit)
            if not answer.ok:
                problem = f"{answer.status_code}: {refusal_words(answer)}"
                break
    except (Failure, OSError, RequestException) as error:
        problem = str(error)
    if problem:
        console.say(f"Warning: the support bundle could not be copied to {url}: {problem}")
    else:
        console.say(f"Copied {len(names)} files of the support bundle to {url}.")
