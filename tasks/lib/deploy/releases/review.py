"""Looking at what was deployed: a release, how two differ, and whether the cluster is as the last left it."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy.events import ReleaseResult
from tasks.lib.deploy.objects import is_job, wanted
from tasks.lib.deploy.plan.diff import masked
from tasks.lib.deploy.releases import difference, drift, history, store
from tasks.lib.deploy.session import learn
from tasks.lib.errors import ChangesFound, Failure
from tasks.lib.redaction import Redactor
from tasks.lib.secrets.sensitive import public

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Status:
    """How an environment stands.

    Args:
        killed: a later deploy that was killed, which nothing followed.

    """

    release: history.Release
    drifted: tuple[drift.Drifted, ...]
    killed: history.Release | None = None

    def require_no_drift(self) -> None:
        """End with the exit code for changes if there are any.

        Raises:
            ChangesFound: something is not as the release made it.

        """
        if self.drifted:
            raise ChangesFound(
                f"{len(self.drifted)} objects have drifted from release {self.release.number}."
            )


def releases(settings: "Settings", environment: "Environment") -> list[history.Release]:
    """The releases that are kept, the newest first."""
    with _reached(settings, environment) as connection:
        return store.read(connection.api, environment.namespace)


def show(settings: "Settings", environment: "Environment", number: int | None) -> history.Release:
    """Release `number`; None for the newest.

    Raises:
        UsageError: it is not kept.
        Failure: nothing was deployed yet.

    """
    past = _some(releases(settings, environment), environment)
    return past[0] if number is None else difference.find(past, number, environment.name)


def compare(
    settings: "Settings", environment: "Environment", numbers: Sequence[int]
) -> tuple[history.Release, history.Release, list[difference.Difference]]:
    """Two releases and how their objects differ.

    Raises:
        UsageError: they are not kept.

    """
    with _reached(settings, environment) as connection:
        past = _some(store.read(connection.api, environment.namespace), environment)
        before, after = difference.pick(past, numbers, environment.name)
        redactor = _redactor(settings, environment, connection)
    found = difference.differences(before, after)
    return before, after, [replace(one, changes=masked(one.changes, redactor)) for one in found]


def status(settings: "Settings", environment: "Environment") -> Status:
    """The newest release, and where the cluster is not as it made it; nothing is changed.

    Raises:
        Failure: nothing was deployed yet, or the release's objects are not kept.

    """
    with _reached(settings, environment) as connection:
        past = _some(store.read(connection.api, environment.namespace), environment)
        chosen = in_force(past, environment.name)
        objects = wanted(set_by(chosen, past), connection.kinds, environment.namespace)
        found = drift.find(connection.api, connection.kinds, objects, chosen)
        redactor = _redactor(settings, environment, connection)
        drifted = tuple(replace(one, changes=masked(one.changes, redactor)) for one in found)
        return Status(chosen, drifted, past[0] if _was_killed(past[0]) else None)


def in_force(past: Sequence[history.Release], environment: str) -> history.Release:
    """The release that should be running: the newest that ended, or the one that it rolled back to.

    Raises:
        UsageError: the one that was rolled back to is no longer kept.

    """
    newest = _newest(past)
    restored = newest.rolled_back_to
    return newest if restored is None else difference.find(past, restored, environment)


def set_by(chosen: history.Release, past: Sequence[history.Release]) -> list[Json]:
    """The objects as the release in force set them: one that came back by itself left later Jobs in place."""
    came_back = chosen is not _newest(past)
    return [body for body in chosen.objects() if not (came_back and is_job(body))]


def _newest(past: Sequence[history.Release]) -> history.Release:
    """The newest that ended."""
    return next((one for one in past if not _was_killed(one)), past[0])


def _was_killed(one: history.Release) -> bool:
    return one.result is ReleaseResult.KILLED


def _some(past: list[history.Release], environment: "Environment") -> list[history.Release]:
    if not past:
        raise Failure(
            f"Nothing was deployed to {environment.name} yet.",
            "The cluster keeps no release of it.",
            f"./inv deploy --branch {shlex.quote(environment.branch)}",
        )
    return past


def _redactor(settings: "Settings", environment: "Environment", connection: Connection) -> Redactor:
    """What takes the values of the namespace's Secrets out; nothing for those who may not read them."""
    redactor = Redactor(public=public(settings))
    with suppress(ApiError):
        path = f"/api/v1/namespaces/{environment.namespace}/secrets"
        learn(redactor, connection.api.list(path, doing="list secrets")[0])
    return redactor


@contextmanager
def _reached(settings: "Settings", environment: "Environment") -> Iterator[Connection]:
    from tasks.lib.cluster.gke import connect

    connection = connect(settings, environment)
    try:
        yield connection
    finally:
        connection.api.close()
