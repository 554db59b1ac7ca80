"""Looking at what was deployed: a release, how two differ, and whether the cluster is as the last left it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.lib.cluster.connection import Connection
from tasks.lib.deploy import comparing, drift, history
from tasks.lib.deploy.objects import wanted
from tasks.lib.errors import ChangesFound, Failure

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

# As a failed deploy that was rolled back is recorded.
RESTORED: Final = re.compile(r"rolled back to (\d+)$")


@dataclass(frozen=True)
class Status:
    """How an environment stands.

    Args:
        release: the one that should be running.
        drifted: the objects that are not as it made them.

    """

    release: history.Past
    drifted: tuple[drift.Drifted, ...]

    def require_no_drift(self) -> None:
        """End with the exit code for changes if there are any.

        Raises:
            ChangesFound: something is not as the release made it.

        """
        if self.drifted:
            raise ChangesFound(
                f"{len(self.drifted)} objects are not as release {self.release.number} made them."
            )


def show(settings: "Settings", environment: "Environment", number: int) -> history.Past:
    """Release `number`; 0 for the newest.

    Raises:
        UsageError: it is not kept.
        Failure: nothing was deployed yet.

    """
    past = _releases(settings, environment)
    return comparing.find(past, number) if number else past[0]


def compare(
    settings: "Settings", environment: "Environment", numbers: Sequence[int]
) -> tuple[history.Past, history.Past, list[comparing.Difference]]:
    """Two releases and how their objects differ.

    Raises:
        UsageError: they are not kept.

    """
    before, after = comparing.pick(_releases(settings, environment), numbers)
    return before, after, comparing.differences(before, after)


def status(settings: "Settings", environment: "Environment") -> Status:
    """The newest release, and where the cluster is not as it made it; nothing is changed.

    Raises:
        Failure: nothing was deployed yet, or the release's objects are not kept.

    """
    with _reached(settings, environment) as connection:
        chosen = in_force(_some(history.read(connection.api, environment.namespace), environment))
        objects = wanted(chosen.objects(), connection.kinds, environment.namespace)
        return Status(chosen, tuple(drift.find(connection.api, connection.kinds, objects, chosen)))


def in_force(past: Sequence[history.Past]) -> history.Past:
    """The release that should be running: the newest, or the one that was brought back when that failed."""
    restored = RESTORED.search(past[0].facts.get("result", ""))
    return comparing.find(past, int(restored[1])) if restored else past[0]


def _releases(settings: "Settings", environment: "Environment") -> list[history.Past]:
    with _reached(settings, environment) as connection:
        return _some(history.read(connection.api, environment.namespace), environment)


def _some(past: list[history.Past], environment: "Environment") -> list[history.Past]:
    if not past:
        raise Failure(
            f"Nothing was deployed to {environment.name} yet.",
            "The cluster keeps no release of it.",
            f"./inv deploy --branch {environment.branch}",
        )
    return past


@contextmanager
def _reached(settings: "Settings", environment: "Environment") -> Iterator[Connection]:
    from tasks.lib.cluster.connection import connect

    connection = connect(settings, environment)
    try:
        yield connection
    finally:
        connection.api.close()
