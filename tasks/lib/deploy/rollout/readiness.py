"""Whether an object is ready: the rules of `kubectl rollout status` and kstatus, as a pure function per kind.

Source: kubectl's pkg/polymorphichelpers/rollout_status.go; for Jobs, the API reference of JobStatus; beyond
them https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus.  What is waited for: awaited.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from tasks.lib.render.pods import at

Object = Mapping[str, Any]


class State(Enum):
    """Whether an object is ready."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class Readiness:
    """A state, and in a few words why: `1 of 3 updated`."""

    state: State
    reason: str


def key_of(thing: Object) -> tuple[str, str]:
    """API group and kind: others have a kind Job or Service too."""
    return str(thing.get("apiVersion", "")).rpartition("/")[0], str(thing["kind"])


def readiness(thing: Object) -> Readiness:
    """Whether `thing` is ready, and why not; kinds that have nothing to wait for always are."""
    key = key_of(thing)
    if rule := RULES.get(key):
        return rule(thing)
    return _ready("") if key[0] in BUILT_IN else _by_condition(thing)


def tally(thing: Object) -> str:
    """Ready and desired replicas as `1/2`; empty for what has none."""
    status, spec = thing.get("status") or {}, thing.get("spec") or {}
    match key_of(thing)[1] if key_of(thing) in RULES else "":
        case "Deployment" | "ReplicaSet" | "ReplicationController":
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
    conditions = at(thing, "status.conditions")
    known = conditions if isinstance(conditions, list) else []  # of custom resources it may be anything
    return next((c for c in known if at(c, "type") == name), {})


def job_outcome(job: Object) -> str:
    """`Complete`, `Failed`, or empty while the Job runs."""
    for name in ("Complete", "Failed"):
        if condition(job, name).get("status") == "True":
            return name
    return ""


def is_failing(job: Object) -> bool:
    """Whether a Job is sure to fail, and only waits for its pods to end.

    Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#termination-of-job-pods
    """
    return not job_outcome(job) and condition(job, "FailureTarget").get("status") == "True"


def still_runs(job: Object) -> bool:
    """Whether a Job still runs: it has not ended and is neither suspended nor being deleted."""
    is_idle = (job.get("spec") or {}).get("suspend") and not (job.get("status") or {}).get("active")
    return not (job_outcome(job) or is_idle or job["metadata"].get("deletionTimestamp"))


def _deployment(thing: Object) -> Readiness:
    wanted, status = _replicas(thing), thing.get("status") or {}
    if _unseen(thing):
        return _waiting("not yet observed by the controller")
    progress = condition(thing, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Readiness(State.FAILED, progress.get("message") or "exceeded its progress deadline")
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < wanted:
        return _waiting(f"{updated} of {wanted} updated")
    if total > updated:
        return _waiting(f"{total - updated} old pods terminating")
    if available < updated:
        return _waiting(f"{available} of {updated} available")
    return _ready(f"{available}/{wanted}")


def _stateful_set(thing: Object) -> Readiness:
    wanted, status, spec = _replicas(thing), thing.get("status") or {}, thing["spec"]
    if not status.get("observedGeneration") or _unseen(thing):
        return _waiting("not yet observed by the controller")
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


def _daemon_set(thing: Object) -> Readiness:
    status = thing.get("status") or {}
    if _unseen(thing):
        return _waiting("not yet observed by the controller")
    wanted, available = status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
    strategy = (thing["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    updated = status.get("updatedNumberScheduled", 0)
    if strategy == "RollingUpdate" and updated < wanted:
        return _waiting(f"{updated} of {wanted} updated")
    if available < wanted:
        return _waiting(f"{available} of {wanted} available")
    return _ready_by_hand(f"{available}/{wanted}", wanted - updated)


def _job(thing: Object) -> Readiness:
    status = thing.get("status") or {}
    outcome = job_outcome(thing)
    if outcome == "Complete":
        return _ready("complete")
    if outcome == "Failed":
        failed = condition(thing, "Failed")
        return _failed(failed.get("reason", "Failed"), failed.get("message", ""))
    if thing["spec"].get("suspend"):
        return _waiting("suspended")
    attempts = status.get("failed", 0)
    return _waiting(f"running, {attempts} failed before" if attempts else "running")


def _replica_set(thing: Object) -> Readiness:
    wanted, available = _replicas(thing), (thing.get("status") or {}).get("availableReplicas", 0)
    if _unseen(thing):
        return _waiting("not yet observed by the controller")
    return (
        _ready(f"{available}/{wanted}")
        if available >= wanted
        else _waiting(f"{available} of {wanted} available")
    )


def _pod(thing: Object) -> Readiness:
    status = thing.get("status") or {}
    if status.get("phase") == "Succeeded":
        return _ready("complete")
    if status.get("phase") == "Failed":
        return _failed(status.get("reason") or "Failed", status.get("message") or "")
    if condition(thing, "Ready").get("status") == "True":
        return _ready("ready")
    return _waiting("not ready" if status.get("phase") == "Running" else "not started")


def _cron_job(thing: Object) -> Readiness:
    spec = thing.get("spec") or {}
    return _ready("suspended" if spec.get("suspend") else f"runs at {spec.get('schedule')}")


def _claim(thing: Object) -> Readiness:
    phase = (thing.get("status") or {}).get("phase")
    if phase == "Lost":
        return _failed("Lost", "its volume is gone")
    return _ready("bound") if phase == "Bound" else _waiting("not bound to a volume")


def _addressed(thing: Object) -> Readiness:
    """An Ingress, or a Service; only one of type LoadBalancer gets an address."""
    if thing["kind"] == "Service" and (thing.get("spec") or {}).get("type") != "LoadBalancer":
        return _ready("")
    found = ((thing.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    address = next((one.get("ip") or one.get("hostname") or "" for one in found), "")
    return _ready(f"at {address}") if address else _waiting("no address yet")


def _api_service(thing: Object) -> Readiness:
    said = condition(thing, "Available")
    if said.get("status") == "True":
        return _ready("available")
    return _waiting(said.get("message") or "not available yet")


def _by_condition(thing: Object) -> Readiness:
    """Whatever says so itself, by the condition that controllers of custom resources agreed on."""
    said = condition(thing, "Ready")
    seen = said.get("observedGeneration", at(thing, "status.observedGeneration"))
    if not said or (isinstance(seen, int) and seen < thing["metadata"].get("generation", 0)):
        return _waiting("not yet observed by its controller")
    if said.get("status") == "True":
        return _ready("ready")
    stalled = condition(thing, "Stalled")
    if stalled.get("status") == "True":
        return _failed(str(stalled.get("reason")), stalled.get("message", ""))
    return _waiting(f"{said.get('reason') or 'not ready'}: {said.get('message') or ''}".rstrip(": "))


def _definition(thing: Object) -> Readiness:
    refused = condition(thing, "NamesAccepted")
    if refused.get("status") == "False":
        return Readiness(State.FAILED, refused.get("message") or "its names are taken")
    established = condition(thing, "Established").get("status") == "True"
    return _ready("established") if established else _waiting("not served yet")


def _unseen(thing: Object) -> bool:
    generation = thing["metadata"].get("generation", 0)
    return bool(generation > ((thing.get("status") or {}).get("observedGeneration") or 0))


def _replicas(thing: Object) -> int:
    replicas = thing["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def _waiting(reason: str) -> Readiness:
    return Readiness(State.WAITING, reason)


def _failed(reason: str, message: str) -> Readiness:
    return Readiness(State.FAILED, f"{reason}: {message}".rstrip(": "))


def _ready_by_hand(reason: str, before: int) -> Readiness:
    """Ready, though `before` of the pods are of an earlier state: whoever chose OnDelete replaces them."""
    if before <= 0:
        return _ready(reason)
    return _ready(f"{reason}, {before} of the previous revision until they are deleted (OnDelete)")


def _ready(reason: str) -> Readiness:
    return Readiness(State.READY, reason)


# Groups of the API server's own: without a rule, there is nothing to wait for.
BUILT_IN: Final = frozenset(
    {
        "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps",
        "autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io",
        "events.k8s.io", "flowcontrol.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy",
        "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
    }
)  # fmt: skip
RULES: Final[Mapping[tuple[str, str], Callable[[Object], Readiness]]] = {
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): _pod,
    ("", "ReplicationController"): _replica_set,
    ("", "Service"): _addressed,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "CronJob"): _cron_job,
    ("batch", "Job"): _job,
    ("networking.k8s.io", "Ingress"): _addressed,
}
