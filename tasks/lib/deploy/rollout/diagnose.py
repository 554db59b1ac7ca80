"""What is wrong with a workload, read out of live objects and the cluster's warnings: pure functions.

failure_rules.py says what each state means and how long it may last.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import is_going, is_job
from tasks.lib.deploy.rollout.failure_rules import Object, Problem, Where, problem
from tasks.lib.deploy.rollout.readiness import condition
from tasks.lib.render.pods import at

# Of a Deployment that does not say.
PROGRESS_DEADLINE: Final = 600
FIELD_PATH: Final = re.compile(r"spec\.(initContainers|containers)\{([^}]+)\}")
SHORT: Final = 2  # lines
BEFORE_ANY_CONTAINER: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"})


def of_pod(pod: Json, warnings: Iterable[Json] = ()) -> list[Problem]:
    """What is wrong with a pod, what fails a deploy soonest first; nothing for one that is being deleted."""
    if is_going(pod):
        return []
    status = pod.get("status") or {}
    if status.get("reason") == "Evicted":  # its containers tell only that they were lost
        evicted = problem(Where.POD, pod, "Evicted", status.get("message", "").strip())
        return [evicted] if evicted else []
    found = [*_of_containers(pod), *_of_placing(pod), *_of_warnings(pod, warnings)]
    return sorted(found, key=lambda t: t.patience)


def of_claim(claim: Json, warnings: Iterable[Json], recent: Iterable[Json]) -> list[Problem]:
    """What is wrong with a claim that has no volume; of `warnings`, those not in `recent` are only told."""
    if (claim.get("status") or {}).get("phase") != "Pending" or is_going(claim):
        return []
    told = _by_events(Where.CLAIM, claim, warnings, recent)
    # An absent class means the default one, which admission would have filled in if there were one.
    if not told and not claim["spec"].get("storageClassName") and not claim["spec"].get("volumeName"):
        told = [problem(Where.CLAIM, claim, "FailedBinding", "")]
    return [one for one in told if one]


def of_workload(
    workload: Json, replica_sets: Iterable[Json], pods: Sequence[Json], warnings: Iterable[Json],
    recent: Iterable[Json],
) -> list[Problem]:  # fmt: skip
    """What is wrong with a workload itself: that it gave up, or that its pods cannot be created.

    `replica_sets` make its pods: of a Deployment, its newest state's; of others, the workload itself.  `pods`
    are all that it owns directly.  Of `warnings`, the events about it, those not in `recent` are only told.
    """
    found: list[Problem | None] = [_given_up(workload)]
    for one in replica_sets:
        failing = condition(one, "ReplicaFailure")
        if failing.get("status") == "True":
            message = failing.get("message", "")
            found.append(problem(Where.WORKLOAD, one, failing.get("reason", "FailedCreate"), message))
    if lacks_pods(workload, pods):
        newest = max((pod["metadata"].get("creationTimestamp", "")[:19] for pod in pods), default="")
        unanswered = [event for event in warnings if last_seen(event) >= newest]
        found += _by_events(Where.WORKLOAD, workload, unanswered, recent)
    return [one for one in found if one]


def without_earlier_deadline(workload: Json, since: str) -> Json:
    """A workload without the condition that an earlier state of it exceeded its progress deadline.

    A Deployment that returns to a state of which there are pods already keeps that condition, with an
    up-to-date observedGeneration, until pods of the failed state are gone.

    `since` is when this deploy wrote it, by the server's clock; empty where it did not.
    """
    said = condition(workload, "Progressing")
    told = str(said.get("lastUpdateTime") or "")[:19]
    if said.get("reason") != "ProgressDeadlineExceeded" or not (told and since):
        return workload
    patience = workload["spec"].get("progressDeadlineSeconds") or PROGRESS_DEADLINE
    # The condition of the state that we wrote comes that much later; half of it, because clocks may differ.
    if _moment(told) >= _moment(since) + datetime.timedelta(seconds=patience / 2):
        return workload
    status = workload["status"]
    kept = [one for one in status["conditions"] if one is not said]
    return {**workload, "status": {**status, "conditions": kept}}


def lacks_pods(workload: Object, pods: Sequence[Object]) -> bool:
    """Whether a workload that makes its pods itself has fewer of them than it wants."""
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    match workload["kind"]:
        case "StatefulSet" | "ReplicaSet" | "ReplicationController":
            replicas = spec.get("replicas")
            return len(pods) < (1 if replicas is None else int(replicas))
        case "DaemonSet":
            return len(pods) < int(status.get("desiredNumberScheduled", 0))
        case "Job":
            return not status.get("active") and status.get("succeeded", 0) < (spec.get("completions") or 1)
        case _:
            return False


def claims_of(pod: Object) -> set[str]:
    """The names of the claims that a pod mounts."""
    volumes = pod["spec"].get("volumes") or []
    return {v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")}


def has_started(job: Json, pods: Sequence[Json]) -> bool:
    """Whether a container of a Job runs, or ever did, or may have for all that these known pods tell."""
    status = job.get("status") or {}
    if status.get("failed") or status.get("succeeded") or status.get("active", 0) > len(pods):
        return True
    containers = [one for pod in pods for _, one in _statuses(pod)]
    return any(one.get("restartCount") or (one.get("state") or {}).keys() - {"waiting"} for one in containers)


def container_to_blame(pod: Object) -> str:
    """The container whose log tells most: one that crashes or ended with an error, else the first."""
    for _, status in _statuses(pod):
        state, last = status.get("state") or {}, status.get("lastState") or {}
        ended = state.get("terminated") or last.get("terminated") or {}
        if ended.get("exitCode") or (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
            return str(status["name"])
    containers: Sequence[Object] = pod["spec"]["containers"]
    return str(containers[0]["name"])


def last_seen(event: Json) -> str:
    """When an event last happened, to the second."""
    series = (event.get("series") or {}).get("lastObservedTime")
    moment = series or event.get("lastTimestamp") or event.get("eventTime")
    return str(moment or event["metadata"].get("creationTimestamp") or "")[:19]


def _moment(stamp: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(stamp)


def _of_containers(pod: Json) -> Iterator[Problem]:
    for title, status in _statuses(pod):
        state = status.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = _ended(status)
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason == "CrashLoopBackOff" and ended.get("reason") == "StartError":
            message = ended.get("message", "")  # the runtime's; the other tells only of the next attempt
        found = problem(Where.CONTAINER, pod, reason, message, title, _exit(ended))
        if found is None and ended.get("exitCode"):
            message, exit_code = ended.get("message", ""), _exit(ended)
            found = problem(Where.CONTAINER, pod, ended.get("reason", ""), message, title, exit_code)
            found = found or problem(Where.CONTAINER, pod, "Error", message, title, exit_code)
        if found:
            yield found


def _of_placing(pod: Json) -> Iterator[Problem]:
    placed = condition(pod, "PodScheduled")
    if placed.get("reason") == "Unschedulable" and placed.get("status") == "False":
        found = problem(Where.POD, pod, "Unschedulable", placed.get("message", ""))
        if found:
            yield found


def _of_warnings(pod: Json, warnings: Iterable[Json]) -> Iterator[Problem]:
    """Events that the pod's present state confirms: they outlive what they tell of."""
    states = [(title, status, status.get("state") or {}) for title, status in _statuses(pod)]
    begun = any("running" in state or "terminated" in state for _, _, state in states)
    unready = {
        status["name"] for _, status, state in states if "running" in state and not status.get("ready")
    }
    for event in warnings:
        reason, message = event.get("reason", ""), event.get("message", "")
        path = FIELD_PATH.search((event.get("involvedObject") or {}).get("fieldPath") or "")
        concerned = {path[2]} if path else unready
        if (reason in BEFORE_ANY_CONTAINER and not begun) or (reason == "Unhealthy" and concerned & unready):
            told, container = _in_short(message), f"container {path[2]}" if path else ""
            found = problem(Where.POD, pod, reason, told, container)
            if found:
                yield found


def _in_short(message: str) -> str:
    """An event's message; of a long one, such as a probe's traceback, how it begins and its last line."""
    lines = [line for line in message.splitlines() if line.strip()]
    if len(lines) <= SHORT:
        return message
    return f"{lines[0].partition(': ')[0]}: … {lines[-1].strip()}"


def _by_events(
    where: Where, thing: Json, warnings: Iterable[Json], recent: Iterable[Json]
) -> list[Problem | None]:
    now = {event["metadata"]["uid"] for event in recent}
    found = []
    for event in warnings:
        one = problem(where, thing, event.get("reason", ""), event.get("message", ""))
        is_now = event["metadata"]["uid"] in now
        found.append(one if one is None or is_now else one.without_verdict())
    return found


def _given_up(workload: Json) -> Problem | None:
    """What the controller says of having given up, or that it was told to do nothing."""
    if workload["kind"] == "Deployment" and at(workload, "spec.paused"):
        return problem(Where.WORKLOAD, workload, "Paused", "")
    if is_job(workload) and at(workload, "spec.suspend"):
        return problem(Where.WORKLOAD, workload, "Suspended", "")
    for name in ("Failed", "FailureTarget", "Progressing"):
        said = condition(workload, name)
        exceeded = said.get("reason") == "ProgressDeadlineExceeded"
        if exceeded or (name != "Progressing" and said.get("status") == "True"):
            return problem(Where.WORKLOAD, workload, said.get("reason", ""), said.get("message", ""))
    return None


def _statuses(pod: Object) -> list[tuple[str, Json]]:
    """Every container's status, by what it is called."""
    status = pod.get("status") or {}
    first = [(f"init container {one['name']}", one) for one in status.get("initContainerStatuses") or []]
    return [*first, *((f"container {one['name']}", one) for one in status.get("containerStatuses") or [])]


def _ended(status: Json) -> Json:
    """How a container that is not ready ended: now, or the last time."""
    state = status.get("state") or {}
    if "terminated" in state or status.get("ready"):
        return state.get("terminated") or {}
    return (status.get("lastState") or {}).get("terminated") or {}


def _exit(ended: Json) -> str:
    if not ended.get("exitCode"):
        return ""
    return f"; exit code {ended['exitCode']}" + (f" ({ended['reason']})" if ended.get("reason") else "")
