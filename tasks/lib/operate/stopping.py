"""Stopping workloads and starting them again with as many pods as before: for a restore, for maintenance.

How many pods a workload had is noted on it, under a name for each reason, also for whoever continues after a
crash.
A workload that two reasons have stopped starts when the second of them ends.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tasks.lib import signals
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy import maintenance
from tasks.lib.deploy.events import Record, Tell
from tasks.lib.deploy.objects import APPLIED, Ref, annotations, ref_of
from tasks.lib.errors import TimedOut
from tasks.lib.operate.restart import change, follow
from tasks.lib.operate.workloads import RESTORE, belongs, is_stopped
from tasks.lib.render.pods import at
from tasks.lib.retry import Attempts
from tasks.lib.settings.model import Environment, Settings

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
NOTES: Final = (RESTORE, maintenance.REPLICAS)
ENDED: Final = frozenset({"Succeeded", "Failed"})
# The fingerprints of what a release wants of an object otherwise and meanwhile.
Forms = Mapping[Ref, tuple[str, str]]


class NotStopped(TimedOut):
    """Some workloads still run."""


@dataclass(frozen=True)
class Stopping:
    """What is stopped for one reason, and where."""

    settings: Settings
    environment: Environment
    connection: Connection
    tell: Tell  # is told what happens, without secret values
    note: str  # the annotation for this reason
    find: Callable[[], Sequence[Json]]  # the workloads as they are
    forms: Forms = field(default_factory=dict)

    def stop(self) -> None:
        """Remove all pods of the workloads, and wait until they have ended.

        Raises:
            NotStopped: some still run.

        """
        there = self.find()
        for one in there:
            ref = ref_of(one)
            notes = {self.note: pods_before(one), **other_form(one, self.forms, 1)}
            change(self.connection, ref, scaled(0, notes), doing=f"stop {ref}")
        self._wait_until_ended(there)

    def start(self, record: Record, also: Sequence[Json] = ()) -> list[str]:
        """Give every stopped workload its pods back, and wait until they and `also` are ready; returns names.

        Raises:
            Failure: one cannot become ready.
            TimedOut: not all were ready in time.

        """
        stopped = {ref_of(one): one for one in self.find() if self.note in annotations(one)}
        there = {ref_of(one): one for one in also}

        def write(ref: Ref) -> Json:
            if ref in there:
                return there[ref]
            notes = {self.note: None, **other_form(stopped[ref], self.forms, 0)}
            body = scaled(started(stopped[ref], self.note), notes)
            return change(self.connection, ref, body, doing=f"start {ref}")

        if refs := [*stopped, *there]:
            follow(self.settings, self.connection, "start", refs, write, record, self.tell)
        return [str(ref) for ref in stopped]

    def _wait_until_ended(self, workloads: Sequence[Json]) -> None:
        limit = self.settings.time_limits.rollout
        attempts = Attempts(limit, FIRST_PAUSE, LONGEST_PAUSE)
        while running := running_pods(workloads, self._pods()):
            pause = attempts.pause()
            if pause is None:
                raise NotStopped(
                    f"Not everything stopped within {limit:g} s.",
                    f"Still running: {', '.join(running)}.",
                    f"kubectl -n {self.environment.namespace} describe pod {running[0]}",
                )
            signals.sleep(pause)

    def _pods(self) -> list[Json]:
        path = f"/api/v1/namespaces/{self.environment.namespace}/pods"
        return self.connection.api.list(path, doing="list pods")[0]


def pods_before(workload: Json) -> str:
    """How many pods a workload has, or had before it was first stopped."""
    kept = (annotations(workload)[note] for note in NOTES if is_stopped(workload, note))
    return next(kept, str(workload["spec"].get("replicas", 1)))


def started(workload: Json, note: str) -> int:
    """How many pods a workload gets when one reason to stop it ends: none while there is another."""
    others = [name for name in NOTES if name != note and name in annotations(workload)]
    kept, now = annotations(workload).get(note, ""), int(workload["spec"].get("replicas", 1))
    return now if now or others or not kept.isdecimal() else int(kept)


def scaled(replicas: int, notes: Mapping[str, str | None]) -> Json:
    """What scales a workload, with what is noted on it; None takes a note away."""
    return {"metadata": {"annotations": dict(notes)}, "spec": {"replicas": replicas}}


def other_form(thing: Json, forms: Forms, meanwhile: int) -> dict[str, str]:
    """The note that an object is as its release wants it in the other form, where it is so in this one.

    `meanwhile` is 1 for the form of maintenance mode, 0 for the other.  A plan then has nothing to change.
    """
    known = forms.get(ref_of(thing))
    is_known = known and annotations(thing).get(APPLIED) == known[1 - meanwhile]
    return {APPLIED: known[meanwhile]} if known and is_known else {}


def running_pods(workloads: Sequence[Json], pods: Sequence[Json]) -> list[str]:
    """The pods of workloads that have not ended, those that are just ending included."""
    return sorted(
        str(pod["metadata"]["name"])
        for pod in pods
        if at(pod, "status.phase") not in ENDED and belongs(pod, workloads)
    )
