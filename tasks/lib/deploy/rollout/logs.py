"""Logs of a Job's containers: followed live, taken up again where a broken connection left off."""

import threading
import time
from collections.abc import Collection, Iterator
from functools import partial
from typing import Final

from tasks.lib.background import Background
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.refusal import ApiError, Unreachable
from tasks.lib.deploy.rollout.watch import Inbox, Logged
from tasks.lib.errors import Failure

LINES_OF_EVIDENCE: Final = 20
SILENCE: Final = 3600.0
ATTEMPTS: Final = 10


class Followers:
    """Threads that follow logs, one for each run of a container.

    Args:
        api: the server.
        inbox: where lines go.
        stop: tells the threads to end.

    """

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


def _follow(api: Api, metadata: Json, container: str, inbox: Inbox, stop: threading.Event) -> None:
    """Pass on every line once, until the pod or its log is gone, or no token comes."""
    seen = ""
    for attempt in range(ATTEMPTS):
        try:
            for line in _timed_lines(api, metadata, container, seen):
                stamp, _, text = line.partition(" ")
                if stamp > seen:  # sinceTime knows whole seconds only: some lines come twice
                    seen = stamp
                    inbox.put(Logged(metadata["name"], container, text))
        except Unreachable:
            if stop.wait(min(0.2 * 2**attempt, 3)):
                return
        except Failure:
            return
        else:
            return


def _timed_lines(api: Api, metadata: Json, container: str, since: str) -> Iterator[str]:
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
    query = {"container": container, "follow": "true", "timestamps": "true"}
    if since:
        query["sinceTime"] = since
    for line in api.lines(path, query=query, idle=SILENCE):
        yield line.decode(errors="replace")
