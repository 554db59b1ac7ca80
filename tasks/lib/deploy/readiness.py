"""Whether a workload is ready: the rules of `kubectl rollout status`, as a pure function per kind.

Source: kubectl's pkg/polymorphichelpers/rollout_status.go; for Jobs, the API reference of JobStatus.
Claims are not waited for: many bind only once a pod uses them, and then that pod waits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

Object = Mapping[str, Any]


class State(Enum):
    """Where an object stands."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class Standing:
    """A state, and in a few words why: `1 of 3 updated`."""

    state: State
    reason: str


def standing(thing: Object) -> Standing:
    """Where `thing` stands; kinds that have nothing to wait for are ready once they are there."""
    rule = RULES.get(thing["kind"])
    return rule(thing) if rule else _ready("")


def tally(thing: Object) -> str:
    """Ready and desired replicas as `1/2`; empty for what has none."""
    status, spec = thing.get("status") or {}, thing.get("spec") or {}
    match thing["kind"]:
        case "Deployment":
            return f"{status.get('availableReplicas', 0)}/{_replicas(thing)}"
        case "StatefulSet":
            return f"{status.get('readyReplicas', 0)}/{_replicas(thing)}"
        case "DaemonSet":
            return f"{status.get('numberAvailable', 0)}/{status.get('desiredNumberScheduled', 0)}"
        case "Job":
            return f"{status.get('succeeded', 0)}/{spec.get('completions') or 1}"
    return ""


def condition(thing: Object, name: str) -> Object:
    """The condition called `name`, or an empty one."""
    conditions: list[Object] = (thing.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == name), {})


def job_outcome(job: Object) -> str:
    """`Complete`, `Failed`, or empty while the Job runs."""
    for name in ("Complete", "Failed"):
        if condition(job, name).get("status") == "True":
            return name
    return ""


def _deployment(thing: Object) -> Standing:
    wanted, status = _replicas(thing), thing.get("status") or {}
    if _unseen(thing):
        return _waiting("not yet seen by the controller")
    progress = condition(thing, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Standing(State.FAILED, progress.get("message") or "exceeded its progress deadline")
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < wanted:
        return _waiting(f"{updated} of {wanted} updated")
    if total > updated:
        return _waiting(f"{total - updated} old still ending")
    if available < updated:
        return _waiting(f"{available} of {updated} available")
    return _ready(f"{available}/{wanted}")


def _stateful_set(thing: Object) -> Standing:
    wanted, status, spec = _replicas(thing), thing.get("status") or {}, thing["spec"]
    if not status.get("observedGeneration") or _unseen(thing):
        return _waiting("not yet seen by the controller")
    ready = status.get("readyReplicas", 0)
    if ready < wanted:
        return _waiting(f"{ready} of {wanted} ready")
    strategy, updated = spec.get("updateStrategy") or {}, status.get("updatedReplicas", 0)
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return _ready_by_hand(f"{ready}/{wanted}", wanted - updated)
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    if partition:
        due = max(wanted - partition, 0)
        return _ready(f"{ready}/{wanted}") if updated >= due else _waiting(f"{updated} of {due} updated")
    if status.get("updateRevision") != status.get("currentRevision"):
        return _waiting(f"{updated} of {wanted} updated")
    return _ready(f"{ready}/{wanted}")


def _daemon_set(thing: Object) -> Standing:
    status = thing.get("status") or {}
    if _unseen(thing):
        return _waiting("not yet seen by the controller")
    wanted, available = status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
    strategy = (thing["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    updated = status.get("updatedNumberScheduled", 0)
    if strategy == "RollingUpdate" and updated < wanted:
        return _waiting(f"{updated} of {wanted} updated")
    if available < wanted:
        return _waiting(f"{available} of {wanted} available")
    return _ready_by_hand(f"{available}/{wanted}", wanted - updated)


def _job(thing: Object) -> Standing:
    status = thing.get("status") or {}
    outcome = job_outcome(thing)
    if outcome == "Complete":
        return _ready("complete")
    if outcome == "Failed":
        failed = condition(thing, "Failed")
        return Standing(
            State.FAILED, f"{failed.get('reason', 'Failed')}: {failed.get('message', '')}".rstrip(": ")
        )
    if thing["spec"].get("suspend"):
        return _waiting("suspended")
    attempts = status.get("failed", 0)
    return _waiting(f"running, {attempts} failed before" if attempts else "running")


def _definition(thing: Object) -> Standing:
    refused = condition(thing, "NamesAccepted")
    if refused.get("status") == "False":
        return Standing(State.FAILED, refused.get("message") or "its names are taken")
    established = condition(thing, "Established").get("status") == "True"
    return _ready("established") if established else _waiting("not served yet")


def _unseen(thing: Object) -> bool:
    generation = thing["metadata"].get("generation", 0)
    return bool(generation > ((thing.get("status") or {}).get("observedGeneration") or 0))


def _replicas(thing: Object) -> int:
    replicas = thing["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def _waiting(reason: str) -> Standing:
    return Standing(State.WAITING, reason)


def _ready_by_hand(reason: str, before: int) -> Standing:
    """Ready, though `before` of the pods are of an earlier state: whoever chose OnDelete replaces them."""
    if before <= 0:
        return _ready(reason)
    return _ready(f"{reason}, {before} as before until they are deleted (OnDelete)")


def _ready(reason: str) -> Standing:
    return Standing(State.READY, reason)


RULES: Final[Mapping[str, Callable[[Object], Standing]]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CustomResourceDefinition": _definition,
}
