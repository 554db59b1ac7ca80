"""Which pods will never become ready: a rule table over what the kubelet and the scheduler report.

A rule says after how many seconds the state it describes counts as doomed: 0 for what cannot heal,
some time for what often does.  docs/on-call.md lists the same rows; a test keeps both equal.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Object = Mapping[str, Any]
NEVER: Final = float("inf")


@dataclass(frozen=True)
class Rule:
    """One row: a reason that a container waits with, and how long that may last.

    Args:
        reason: the container's waiting reason.
        message: a regular expression that the message must match; empty for any.
        patience: seconds until the pod counts as doomed.
        meaning: what it means, for people.

    """

    reason: str
    message: str
    patience: float
    meaning: str


NO_SUCH_IMAGE: Final = (
    r"not found|manifest unknown|does not exist|denied|unauthorized|forbidden|no basic auth|"
    r"invalid reference|no match for platform|authentication required"
)
RULES: Final = (
    Rule("InvalidImageName", "", 0, "the image's name is malformed"),
    Rule("ErrImageNeverPull", "", 0, "the image is not on the node and may not be pulled"),
    Rule("ErrImagePull", NO_SUCH_IMAGE, 0, "the image does not exist or may not be pulled"),
    Rule("ImagePullBackOff", NO_SUCH_IMAGE, 0, "the image does not exist or may not be pulled"),
    Rule("ErrImagePull", "", 45, "the image cannot be pulled; a registry that is slow or away may come back"),
    Rule(
        "ImagePullBackOff",
        "",
        45,
        "the image cannot be pulled; a registry that is slow or away may come back",
    ),
    Rule("CrashLoopBackOff", "", 0, "the container ended twice or more and is restarted ever more slowly"),
    Rule(
        "CreateContainerConfigError", "", 0, "a ConfigMap, Secret or key that the container names is missing"
    ),
    Rule("CreateContainerError", "", 15, "the node cannot create the container"),
    Rule("RunContainerError", "", 15, "the container cannot be started: wrong command or mount"),
)


@dataclass(frozen=True)
class Trouble:
    """Something wrong with a pod.

    Args:
        pod: its name.
        container: the container concerned; empty for the pod as a whole.
        reason: the machine-readable reason.
        message: the cluster's words.
        meaning: ours.
        patience: seconds that it may last before the pod counts as doomed.

    """

    pod: str
    container: str
    reason: str
    message: str
    meaning: str
    patience: float

    def __str__(self) -> str:
        where = f"pod {self.pod}" + (f", container {self.container}" if self.container else "")
        said = f" ({self.message})" if self.message else ""
        return f"{where}: {self.reason}: {self.meaning}{said}"


def trouble(pod: Object) -> Trouble | None:
    """What is wrong with a pod, the worst first; None while there is nothing to say."""
    if pod["metadata"].get("deletionTimestamp"):
        return None
    found = [*_of_containers(pod), *_of_pod(pod)]
    return min(found, key=lambda t: t.patience, default=None)


def container_to_blame(pod: Object) -> str:
    """The container whose log tells most: one that waits in trouble or ended badly, else the first."""
    for status in _statuses(pod):
        state, last = status.get("state") or {}, status.get("lastState") or {}
        ended = state.get("terminated") or last.get("terminated") or {}
        if ended.get("exitCode") or (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
            return str(status["name"])
    containers: Sequence[Object] = pod["spec"]["containers"]
    return str(containers[0]["name"])


def _of_containers(pod: Object) -> Iterator[Trouble]:
    for status in _statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        message = waiting.get("message", "")
        for rule in RULES:
            if rule.reason == waiting.get("reason") and re.search(rule.message, message, re.IGNORECASE):
                meaning = rule.meaning + _exit(status)
                yield Trouble(
                    pod["metadata"]["name"], status["name"], rule.reason, message, meaning, rule.patience
                )
                break


def _of_pod(pod: Object) -> Iterator[Trouble]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for found in status.get("conditions") or []:
        if found.get("type") == "PodScheduled" and found.get("reason") == "Unschedulable":
            meaning = "no node can take the pod; an autoscaler may add one"
            yield Trouble(name, "", "Unschedulable", found.get("message", ""), meaning, NEVER)


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _exit(status: Object) -> str:
    """How the container ended the last time, if it did."""
    last = (status.get("lastState") or {}).get("terminated") or {}
    if "exitCode" not in last:
        return ""
    return f"; exit code {last['exitCode']}" + (f" ({last['reason']})" if last.get("reason") else "")
