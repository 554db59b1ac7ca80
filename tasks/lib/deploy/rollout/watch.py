"""Watches: one thread per kind that lists, follows, and starts again wherever the connection breaks.

What they see goes into one queue, which the waiting thread reads.
"""

import json
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.errors import ApiError, Unreachable, from_status
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.events import LogLine
from tasks.lib.errors import Failure
from tasks.lib.retry import Attempts

# The server ends a watch after this long, and a silent connection counts as broken a little later.
SECONDS_OF_A_WATCH: Final = 240
SILENCE: Final = SECONDS_OF_A_WATCH + 30
# A server that has just started refuses everyone until it has read its roles; the api says how long it may.
REFUSED: Final = frozenset({401, 403, 404})
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
# Of these kinds, only what the selector takes.
SELECTORS: Final = {"Event": {"fieldSelector": "type=Warning"}}


@dataclass(frozen=True)
class Listed:
    """All objects of a kind in a namespace, as of now."""

    kind: tuple[str, str]
    namespace: str
    things: list[Json]


@dataclass(frozen=True)
class Seen:
    """One object was added or changed."""

    thing: Json


@dataclass(frozen=True)
class Gone:
    """One object was deleted."""

    thing: Json


@dataclass(frozen=True)
class Disturbed:
    """The connection is lost, or back again (`problem` is empty)."""

    problem: str


@dataclass(frozen=True)
class Broken:
    """A watch has failed for good."""

    failure: Failure


News = Listed | Seen | Gone | LogLine | Disturbed | Broken
Inbox = queue.SimpleQueue[News]


@contextmanager
def watching(
    api: Api, places: Iterable[tuple[Kind, str]], inbox: Inbox, stop: threading.Event
) -> Iterator[None]:
    """Watch each kind in its namespace while inside; `stop` is set at the end."""
    # Streams of their own: closing them must not disturb the caller's connections.
    own = api.patient(api.patience)
    for kind, namespace in places:
        threading.Thread(
            target=_follow, args=(own, kind, namespace, inbox, stop), name=f"watch {kind.plural}", daemon=True
        ).start()
    try:
        yield
    finally:
        stop.set()
        own.close()


def _follow(api: Api, kind: Kind, namespace: str, inbox: Inbox, stop: threading.Event) -> None:
    """List and watch one kind until told to stop; whatever ends a watch is met with another."""
    version, refused_at = "", 0.0
    attempts: Attempts | None = None  # since the connection broke
    while not stop.is_set():
        try:
            version = version or _list(api, kind, namespace, inbox)
            if attempts or refused_at:
                inbox.put(Disturbed(""))
                attempts, refused_at = None, 0.0
            for line in _lines(api, kind, namespace, version):
                version = _take(kind, _event(api, line), inbox) or version
        except (ApiError, Unreachable) as problem:
            version = ""  # a list afterwards shows that the server answers, and what was missed
            status = problem.status if isinstance(problem, ApiError) else 0
            refused_at = refused_at or (time.monotonic() if status in REFUSED else 0.0)
            if status in REFUSED and time.monotonic() - refused_at > api.patience.total:
                inbox.put(Broken(problem))
                return
            if status != 410:
                inbox.put(Disturbed(problem.why))
                attempts = attempts or Attempts(first=FIRST_PAUSE, longest=LONGEST_PAUSE)
                stop.wait(attempts.pause())
        except Failure as failure:  # a token that cannot be renewed
            inbox.put(Broken(failure))
            return


def _list(api: Api, kind: Kind, namespace: str, inbox: Inbox) -> str:
    query = SELECTORS.get(kind.kind)
    things, version = api.list(kind.path(namespace), doing=f"list {kind.plural}", query=query)
    for thing in things:  # lists leave out what every item would repeat
        thing.update(apiVersion=kind.api_version, kind=kind.kind)
    inbox.put(Listed((kind.api_version, kind.kind), namespace, things))
    return version


def _lines(api: Api, kind: Kind, namespace: str, version: str) -> Iterator[bytes]:
    query = {
        "watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true",
        "timeoutSeconds": str(SECONDS_OF_A_WATCH), **SELECTORS.get(kind.kind, {}),
    }  # fmt: skip
    return api.lines(kind.path(namespace), query=query, idle=SILENCE)


def _event(api: Api, line: bytes) -> Json:
    """One event; a line that a proxy cut off, and then ended as if all were well, is a broken connection."""
    try:
        event: Json = json.loads(line)
    except ValueError as error:
        raise Unreachable(api.endpoint.server, "an event was cut off") from error
    if not (isinstance(event, dict) and isinstance(event.get("object"), dict) and "type" in event):
        raise Unreachable(api.endpoint.server, "something else than an event came")
    return event


def _take(kind: Kind, event: Json, inbox: Inbox) -> str:
    """Pass one event on; returns the resource version that it brings."""
    thing = event["object"]
    if event["type"] == "ERROR":
        raise from_status(f"watch {kind.plural}", thing)
    if event["type"] == "DELETED":
        inbox.put(Gone(thing))
    elif event["type"] in {"ADDED", "MODIFIED"}:
        inbox.put(Seen(thing))
    return str(thing["metadata"]["resourceVersion"])
