"""The logs of workloads: of all pods and containers together, in the order of time."""

import heapq
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Final

from tasks.lib import signals
from tasks.lib.background import Background, side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError, Unreachable
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy.objects import is_going
from tasks.lib.deploy.rollout.logs import follow, stamp_of, timed_lines
from tasks.lib.deploy.rollout.watch import Broken, Disturbed, Gone, Inbox, Listed, Seen, watching
from tasks.lib.errors import Failure, UsageError
from tasks.lib.operate import workloads
from tasks.lib.redaction import Redactor
from tasks.lib.retry import TEMPORARY
from tasks.lib.settings.model import Environment, Settings
from tasks.lib.settings.values import seconds

POD: Final = ("v1", "Pod")
TICK: Final = 0.2
# Between two attempts while the server does not answer.
PAUSE: Final = 2.0
# Lines of several pods arrive out of order: each is held so long, in seconds, for an earlier one.
HELD: Final = 0.5
MOST_HELD: Final = 10_000
# What a kubelet answers where a container has no log yet, or did not run before.
NO_LOG: Final = frozenset({400, 404})


@dataclass(frozen=True, order=True)
class Line:
    """One line of a container's log; lines are ordered by their time."""

    at: str
    pod: str
    container: str
    text: str = field(compare=False)


@dataclass(frozen=True)
class Wanted:
    """Which lines are asked for."""

    names: Sequence[str]
    since: str = "10m"
    previous: bool = False
    grep: str = ""

    @property
    def pattern(self) -> "re.Pattern[str]":
        """What a line has to contain; a UsageError where that is no regular expression."""
        try:
            return re.compile(self.grep)
        except re.error as error:
            raise UsageError(f"--grep {self.grep!r} is no regular expression.", str(error)) from error

    def after(self, now: datetime) -> str:
        """The time from which on lines count; empty for all of an earlier run.

        Raises:
            UsageError: --since is no time.

        """
        if self.previous:
            return ""
        try:
            age = timedelta(seconds=seconds(self.since))
        except ValueError as error:
            what = f"--since {self.since!r} is no time."
            raise UsageError(what, f"It should be {error}.", "For example: --since 10m") from error
        return stamp_of(now - age)


Show = Callable[[Line], None]
Say = Callable[[str], None]


def read(settings: Settings, environment: Environment, wanted: Wanted, show: Show, say: Say) -> None:
    """Show what the containers of workloads wrote, in the order of time.

    Raises:
        UsageError: there is no such workload, or an option is wrong.
        Failure: the cluster refuses the logs.

    """
    since, chosen = wanted.after(datetime.now(UTC)), _shown(wanted, show)
    with _reached(settings, environment, wanted) as (connection, found, redactor):
        pods, _ = connection.api.list(connection.kinds[POD].path(environment.namespace), doing="list pods")
        places = [(pod, name) for pod in pods if workloads.belongs(pod, found) for name in begun(pod)]
        one_log = partial(_whole_log, connection.api, since, wanted.previous, say)
        for line in heapq.merge(*side_by_side(one_log, places, CONNECTIONS)):
            chosen(masked(line, redactor))


def follow_all(settings: Settings, environment: Environment, wanted: Wanted, show: Show, say: Say) -> None:
    """Show the same and then each line as it is written, also of pods that are new, until interrupted.

    Raises:
        UsageError: there is no such workload, or an option is wrong.
        Failure: the cluster refuses the logs.

    """
    since, chosen = wanted.after(datetime.now(UTC)), _shown(wanted, show)
    with _reached(settings, environment, wanted) as (connection, found, redactor):
        streams, news = Streams(connection.api, since, say), Inbox()
        place = connection.kinds[POD], environment.namespace
        with watching(connection.api, [place], news, streams.stop):
            while True:
                for line in streams.due():
                    chosen(masked(line, redactor))
                for pod in _pods(news, found, say):
                    streams.join(pod)


class Streams:
    """The logs that are followed, each in a thread of its own."""

    def __init__(self, api: Api, since: str, say: Say) -> None:
        self.stop = threading.Event()
        self._api, self._since, self._say = api, since, say
        self._joined: set[tuple[str, str, int]] = set()
        self._arrived: queue.SimpleQueue[Line | Failure] = queue.SimpleQueue()
        self._held: list[tuple[Line, int, float]] = []
        self._number = count()

    def join(self, pod: Json) -> None:
        """Follow every container that has begun and is not followed yet; one that restarts begins anew."""
        for name, restarts in begun(pod).items():
            key = (pod["metadata"]["uid"], name, restarts)
            if key not in self._joined and not is_going(pod):
                self._joined.add(key)
                self._say(f"following {pod['metadata']['name']}, container {name}")
                Background(partial(self._follow, pod, name, restarts))

    def due(self) -> Iterator[Line]:
        """The lines that were held long enough, in the order of time; waits for a moment.

        Raises:
            Failure: the cluster refuses a log.

        """
        with suppress(queue.Empty):
            self._hold(self._arrived.get(timeout=TICK))
            while not self._arrived.empty() and len(self._held) < MOST_HELD:
                self._hold(self._arrived.get())
        signals.check()
        while self._held and time.monotonic() - self._held[0][2] >= HELD:
            yield heapq.heappop(self._held)[0]

    def _hold(self, arrived: Line | Failure) -> None:
        if isinstance(arrived, Failure):
            raise arrived
        heapq.heappush(self._held, (arrived, next(self._number), time.monotonic()))

    def _follow(self, pod: Json, container: str, restarts: int) -> None:
        """Follow one run of a container to its end: the server ends streams that last for hours."""
        metadata, seen = pod["metadata"], self._since

        def put(stamp: str, text: str) -> None:
            self._arrived.put(Line(stamp, metadata["name"], container, text))

        while not self.stop.is_set():
            try:
                seen = follow(self._api, metadata, container, put, self.stop, seen)
                if not self._still_runs(metadata, container, restarts):
                    return
            except Failure as failure:
                if not _is_passing(failure):
                    self._end(failure)
                    return
                self.stop.wait(PAUSE)

    def _end(self, failure: Failure) -> None:
        """Tell why a log is followed no more, unless it is just gone."""
        if not (isinstance(failure, ApiError) and failure.status in NO_LOG):
            self._arrived.put(failure)

    def _still_runs(self, metadata: Json, container: str, restarts: int) -> bool:
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
        # A deployer may list pods, not get them.
        named = {"fieldSelector": f"metadata.name={metadata['name']}"}
        live, _ = self._api.list(path, doing=f"read pod {metadata['name']}", query=named)
        statuses = [one for pod in live for one in (pod.get("status") or {}).get("containerStatuses") or []]
        runs = {one["name"] for one in statuses if (one.get("state") or {}).get("running")}
        return container in runs and any(begun(pod).get(container) == restarts for pod in live)


def begun(pod: Json) -> dict[str, int]:
    """The containers of a pod that run or ran, init containers too, with how often each was restarted."""
    status = pod.get("status") or {}
    both = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {
        one["name"]: one.get("restartCount", 0)
        for one in both
        if one.get("restartCount") or (one.get("state") or {}).keys() & {"running", "terminated"}
    }


def _is_passing(failure: Failure) -> bool:
    """Whether the server may answer again."""
    return isinstance(failure, Unreachable) or (isinstance(failure, ApiError) and failure.status in TEMPORARY)


def masked(line: Line, redactor: Redactor) -> Line:
    """A line without secret values and control sequences."""
    return Line(line.at, line.pod, line.container, redactor.line(line.text))


@contextmanager
def _reached(
    settings: Settings, environment: Environment, wanted: Wanted
) -> Iterator[tuple[Connection, list[Json], Redactor]]:
    """The cluster, the workloads, and what takes the values of the namespace's Secrets out."""
    with workloads.reached(settings, environment) as (connection, redactor):
        yield connection, workloads.find(settings, environment, connection, wanted.names), redactor


def _shown(wanted: Wanted, show: Show) -> Show:
    pattern = wanted.pattern
    return lambda line: show(line) if pattern.search(line.text) else None


def _whole_log(api: Api, since: str, previous: bool, say: Say, place: tuple[Json, str]) -> list[Line]:
    pod, container = place
    query = {"previous": "true"} if previous else {}
    name = pod["metadata"]["name"]
    try:
        found = timed_lines(api, pod["metadata"], container, query, since)
        return [Line(stamp, name, container, text) for stamp, text in found if stamp > since]
    except ApiError as error:
        if error.status not in NO_LOG:
            raise
        say(f"{name}, container {container}: {error.message}")
        return []


def _pods(news: Inbox, found: Sequence[Json], say: Say) -> Iterator[Json]:
    """The pods of these workloads that were seen since the last look."""
    while not news.empty():
        match news.get():
            case Listed(_, _, things):
                yield from (thing for thing in things if workloads.belongs(thing, found))
            case Seen(thing) if workloads.belongs(thing, found):
                yield thing
            case Gone(thing) if workloads.belongs(thing, found):
                say(f"{thing['metadata']['name']} is gone")
            case Disturbed(problem) if problem:
                say(f"The API server does not answer ({problem}); trying again.")
            case Broken(failure):
                raise failure
