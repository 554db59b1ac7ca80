"""Logs of containers and events: followed while a Job runs, and gathered where something failed."""

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from tasks.lib import signals
from tasks.lib.background import Background
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.errors import ApiError, Unreachable
from tasks.lib.deploy.events import LogLine
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.rollout.diagnose import container_to_blame, last_seen
from tasks.lib.deploy.rollout.failure_rules import Problem
from tasks.lib.deploy.rollout.watch import Inbox
from tasks.lib.errors import Failure
from tasks.lib.printable import one_line

LINES_OF_EVIDENCE: Final = 20
SILENCE: Final = 3600.0
ATTEMPTS: Final = 10
EVENTS_TO_SHOW: Final = 6
PROBLEMS_TO_SHOW: Final = 4
SECONDS_FOR_A_LATE_EVENT: Final = 3.0
PAUSE: Final = 0.3
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT")
# Where events lie about objects of the whole cluster.
CLUSTER_WIDE: Final = "default"


class Followers:
    """Threads that follow logs, one for each run of a container."""

    def __init__(self, api: Api, inbox: Inbox, stop: threading.Event) -> None:
        self._api, self._inbox, self._stop = api, inbox, stop
        self._threads: dict[tuple[str, str, int], Background[None]] = {}

    def follow(self, pod: Json) -> None:
        """Follow each of the pod's main containers that has begun and is not followed yet."""
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            key = (pod["metadata"]["uid"], status["name"], status.get("restartCount", 0))
            state = status.get("state") or {}
            if key in self._threads or not (state.get("running") or state.get("terminated")):
                continue
            arguments = (self._api, pod["metadata"], status["name"], self._inbox, self._stop)
            self._threads[key] = Background(partial(_follow, *arguments))

    def finish(self, pods: Collection[str], seconds: float) -> None:
        """Give the followers of the pods with these uids a moment, all together, to read the last lines."""
        deadline = time.monotonic() + seconds
        for (uid, _, _), thread in self._threads.items():
            if uid in pods:
                thread.is_done(max(deadline - time.monotonic(), 0))


def owners(thing: Json) -> set[str]:
    """The uids of what made an object."""
    return {owner["uid"] for owner in thing["metadata"].get("ownerReferences") or []}


def pods_of_job(api: Api, namespace: str, uid: str) -> list[Json]:
    """A Job's pods as they are now; none where the server does not tell."""
    query = {"labelSelector": f"batch.kubernetes.io/controller-uid={uid}"}
    try:
        return api.list(f"/api/v1/namespaces/{namespace}/pods", doing="list pods", query=query)[0]
    except Failure:  # how the Job ended stays the news
        return []


def last_lines(api: Api, pod: Json, container: str) -> list[str]:
    """The end of a container's log: of the run that crashed, where there was one before this."""
    metadata = pod["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
    for previous in ("true", "false"):
        query = {"container": container, "tailLines": str(LINES_OF_EVIDENCE), "previous": previous}
        try:
            lines = [line.decode(errors="replace") for line in api.lines(path, query=query, idle=5)]
        except (ApiError, Unreachable):
            continue
        except Failure:  # no token: none comes for the other either
            break
        if lines:
            return lines
    return []


def failed(
    api: Api,
    ref: Ref,
    namespace: str,
    reason: str,
    workload: Json,
    found: Sequence[tuple[Problem, Json | None]],
    pods: Sequence[Json],
    heard: Mapping[tuple[str, str], Iterable[str]],
) -> Failure:
    """The error for a failure, with what the cluster can still tell; what does not answer is left out.

    `found` are problems, the one that decided first, each with the pod that shows it; where none does, the
    log is one of `pods`.  `heard` is what containers of Jobs wrote, by pod and container: they may be gone.
    """
    problem, pod = next(((t, pod) for t, pod in found if pod), (None, None))
    if pod is None and all(t.kind == ref.kind for t, _ in found):
        pod = max(pods, key=lambda p: p["metadata"]["creationTimestamp"], default=None)
    container = (problem.container_name if problem else "") or (container_to_blame(pod) if pod else "")
    kind, name = (found[0][0].kind, found[0][0].name) if found else (ref.kind, ref.name)
    pod_name = pod["metadata"]["name"] if pod else ""
    log = last_lines(api, pod, container) if pod else []
    remembered = [*heard.get((pod_name, container), ())][-LINES_OF_EVIDENCE:]
    shown_by_pod = pod and kind == ref.kind and (log or not remembered)  # else the pod is gone
    shown_by = f"pod/{pod_name}" if shown_by_pod else f"{kind.lower()}/{name}"
    events = events_about(api, [thing for thing in (workload, pod) if thing])
    return Failure(
        f"{ref} {'failed' if ref.is_job else 'cannot become ready'}.",
        "\n".join(
            [
                *(dict.fromkeys(str(t) for t, _ in found[:PROBLEMS_TO_SHOW]) or [reason]),
                *evidence(pod_name, container, log or remembered, events),
            ]
        ),
        f"Fix the cause, then deploy again. Details: kubectl -n {namespace} describe {shown_by}",
    )


def evidence(pod: str, container: str, log: Sequence[str], events: Sequence[str]) -> list[str]:
    """The log of a pod's container, where there is one, and what the cluster reported, as lines."""
    lines = [f"pod {pod}, container {container}, has no log."] if pod and not log else []
    if log:
        lines = [f"last lines of {pod}, container {container}:", *(f"  {one_line(line)}" for line in log)]
    return [*lines, *(["events:"] if events else []), *(f"  {one_line(event)}" for event in events)]


def events_about(api: Api, things: Sequence[Json]) -> list[str]:
    """Warnings about these objects, the newest last."""
    found: list[Json] = []
    for thing in things:
        metadata = thing["metadata"]
        namespace = metadata.get("namespace") or CLUSTER_WIDE
        try:
            items = events_of(api, namespace, metadata["uid"], "type=Warning")
        except (ApiError, Unreachable):
            continue
        except Failure:  # no token: none comes for the next either
            break
        found += items
    found.sort(key=last_seen)
    return [_event(event) for event in found[-EVENTS_TO_SHOW:]]


def has_completed(api: Api, namespace: str, uid: str) -> bool:
    """Whether an event says that a Job which is gone has completed.

    Its controller sends that beside the Job's status, perhaps a moment later.
    """
    deadline = time.monotonic() + SECONDS_FOR_A_LATE_EVENT
    try:
        while not events_of(api, namespace, uid, "reason=Completed"):
            if time.monotonic() > deadline:
                return False
            signals.sleep(PAUSE)
    except ApiError:
        return False
    return True


def events_of(api: Api, namespace: str, uid: str, field: str) -> list[Json]:
    """The events about one object that a further field selector takes."""
    query = {"fieldSelector": f"involvedObject.uid={uid},{field}"}
    return api.list(f"/api/v1/namespaces/{namespace}/events", doing="list events", query=query)[0]


def _follow(api: Api, metadata: Json, container: str, inbox: Inbox, stop: threading.Event) -> None:
    def put(_: str, line: str) -> None:
        inbox.put(LogLine(metadata["name"], line, container))

    with suppress(Failure):
        follow(api, metadata, container, put, stop)


def follow(
    api: Api, metadata: Json, container: str, put: Callable[[str, str], None], stop: threading.Event,
    since: str = "",
) -> str:  # fmt: skip
    """Pass on every line after `since` once, with its time, until the log ends; returns the last line's time.

    A broken stream is taken up again, ATTEMPTS times without a line in between.

    Raises:
        Failure: the pod or its log is gone, or no token comes.

    """
    seen, attempt = since, 0
    while attempt < ATTEMPTS:
        try:
            for stamp, line in timed_lines(api, metadata, container, {"follow": "true"}, seen):
                if stamp > seen:  # sinceTime knows whole seconds only: some lines come twice
                    seen, attempt = stamp, 0
                    put(stamp, line)
        except Unreachable:
            if stop.wait(min(0.2 * 2**attempt, 3)):
                return seen
            attempt += 1
        else:
            return seen
    return seen


def timed_lines(
    api: Api, metadata: Json, container: str, query: Mapping[str, str], since: str = ""
) -> Iterator[tuple[str, str]]:
    """The lines of a container's log, each with its time.

    What a kubelet says there itself, such as that it cannot read a log, comes without one, and is of now.
    """
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
    after = {"sinceTime": since} if since else {}
    asked = {"container": container, "timestamps": "true", **after, **query}
    for line in api.lines(path, query=asked, idle=SILENCE):
        whole = line.decode(errors="replace")
        stamp, _, text = whole.partition(" ")
        if TIME.match(stamp):
            yield stamp, text
        else:
            yield stamp_of(datetime.now(UTC)), whole


def stamp_of(moment: datetime) -> str:
    """A moment in UTC as it stands before a line of a log; such texts have the order of time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _event(event: Json) -> str:
    count = event.get("count") or (event.get("series") or {}).get("count") or 1
    times = f" ({count} times)" if count > 1 else ""
    return f"{event.get('reason', '')}: {event.get('message', '')}{times}"
