"""Which problems fail a deploy, and when: a table over what kubelet, scheduler and controllers report.

A rule says for how many seconds the state it describes may last: 0 for what cannot recover, some time for
what often does, `NEVER` for what only the time limits end.

The order of the rows matters, because the first that fits decides: rows about certain messages stand above
the row for any message of the same reason, which a test checks.  docs/on-call.md lists the same rows; a test
keeps both equal.  diagnose.py finds the states.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

Object = Mapping[str, Any]
NEVER: Final = float("inf")


class Where(StrEnum):
    """What shows a problem; the value is how docs/on-call.md spells it."""

    CONTAINER = "container"
    POD = "pod"
    WORKLOAD = "workload"
    CLAIM = "volume claim"


@dataclass(frozen=True)
class Rule:
    """One row: a reason that something is told with, and how long that may last."""

    where: Where
    reason: str
    patience: float  # the seconds for which it may last
    meaning: str
    said: str = "any"  # which messages it is about, in words
    message: str = ""  # the same as a regular expression; empty for any
    limit: str = ""  # which of the time limits in the settings takes the place of `patience`; mostly none


NO_SUCH_IMAGE: Final = (
    r"not found|manifest unknown|does not exist|denied|unauthorized|forbidden|no basic auth|"
    r"invalid reference|no match for platform|authentication required"
)
NO_SUCH_SETTING: Final = r'(configmap|secret) "[^"]*" not found|references non-existent|could(n.t| not) find'
REFUSED_FOR_GOOD: Final = (
    r"denied the request|denied request|violates PodSecurity|must specify|"
    r"(minimum|maximum) \S+ usage per|no (limit|request) is specified|max limit to request ratio|"
    r"is invalid:|Invalid value|Unsupported value"
)
NEVER_STARTED: Final = r"^failed to (create|start)\b"
OVER_ITS_LIMIT: Final = r"exceed(s|ed) (the|its) .*limit"
SLOW_REGISTRY: Final = "the image cannot be pulled; a slow or unavailable registry may recover"
NO_IMAGE: Final = "the image does not exist or may not be pulled"
NO_START: Final = "the container cannot be started: wrong command or mount"
_C, _P, _W, _V = Where.CONTAINER, Where.POD, Where.WORKLOAD, Where.CLAIM
RULES: Final = (
    Rule(_C, "InvalidImageName", 0, "the image's name is malformed"),
    Rule(_C, "ErrImageNeverPull", 0, "the image is not on the node and may not be pulled"),
    Rule(_C, "ErrImagePull", 0, NO_IMAGE, said="image unknown or access denied", message=NO_SUCH_IMAGE),
    Rule(_C, "ImagePullBackOff", 0, NO_IMAGE, said="image unknown or access denied", message=NO_SUCH_IMAGE),
    Rule(_C, "ErrImagePull", 45, SLOW_REGISTRY),
    Rule(_C, "ImagePullBackOff", 45, SLOW_REGISTRY),
    Rule(_C, "CrashLoopBackOff", 0, NO_START, said="container cannot be started", message=NEVER_STARTED),
    Rule(_C, "CrashLoopBackOff", 0, "the container ended twice or more and is restarted ever more slowly"),
    Rule(
        _C, "CreateContainerConfigError", 0, "a ConfigMap, Secret or key that the container names is missing",
        said="ConfigMap, Secret or key missing", message=NO_SUCH_SETTING,
    ),
    Rule(_C, "CreateContainerConfigError", 30, "the node cannot read the container's settings"),
    Rule(_C, "CreateContainerError", 15, "the node cannot create the container"),
    Rule(_C, "RunContainerError", 15, NO_START),
    Rule(_C, "Error", NEVER, "the container failed and is restarted"),
    Rule(_C, "OOMKilled", NEVER, "the container exceeded its memory limit and is restarted"),
    Rule(
        _P, "Evicted", 0, "the pod used more disk than its `ephemeral-storage` or `sizeLimit` allows",
        said="limit exceeded", message=OVER_ITS_LIMIT,
    ),
    Rule(_P, "Evicted", NEVER, "the node ran short of disk or memory; another pod takes its place"),
    Rule(_P, "Unhealthy", NEVER, "a probe fails: the container runs, and gets no requests"),
    Rule(
        _P, "FailedMount", 0, "a ConfigMap, Secret or key that a volume names is missing",
        said="ConfigMap, Secret or key missing", message=NO_SUCH_SETTING,
    ),
    Rule(_P, "FailedMount", NEVER, "a volume cannot be mounted; the node keeps trying"),
    Rule(
        _P, "FailedAttachVolume", NEVER,
        "a disk cannot be attached; it may still be held by the node of an earlier pod",
    ),
    Rule(_P, "FailedCreatePodSandBox", NEVER, "the node cannot give the pod a network yet"),
    Rule(
        _P, "Unschedulable", 15, "the pod names a volume claim that does not exist",
        said="volume claim not found", message=r'persistentvolumeclaim "[^"]*" not found',
    ),
    Rule(_P, "Unschedulable", 300, "no node can take the pod; an autoscaler may add one", limit="scheduling"),
    Rule(
        _W, "FailedCreate", 30, "a ResourceQuota is used up; pods that end may free it",
        said="quota used up", message="exceeded quota",
    ),
    Rule(
        _W, "FailedCreate", 0, "an admission rule, a LimitRange or the pods' own specification forbids them",
        said="refused by a rule", message=REFUSED_FOR_GOOD,
    ),
    Rule(
        _W, "FailedCreate", 15, "a service account or priority class that the pods name is missing",
        said="account or priority class missing",
        message=r"serviceaccount \"[^\"]*\" not found|no PriorityClass",
    ),
    Rule(_W, "FailedCreate", 45, "its pods cannot be created"),
    Rule(_W, "Paused", 0, "its rollout is paused: nothing happens until `kubectl rollout resume`"),
    Rule(
        _W, "Suspended", 300, "the Job is suspended: nothing runs until somebody, or a queue, resumes it",
        limit="scheduling",
    ),
    Rule(_W, "ProgressDeadlineExceeded", 0, "no progress for `progressDeadlineSeconds`"),
    Rule(_W, "BackoffLimitExceeded", 0, "its pods failed more often than `backoffLimit` allows"),
    Rule(_W, "DeadlineExceeded", 0, "the Job ran longer than `activeDeadlineSeconds`"),
    Rule(_W, "PodFailurePolicy", 0, "the Job's own `podFailurePolicy` ended it"),
    Rule(
        _V, "ProvisioningFailed", 0, "the claim names a StorageClass that does not exist",
        said="StorageClass missing", message=r'storageclass\S* "[^"]*" not found',
    ),
    Rule(_V, "ProvisioningFailed", 120, "no volume can be created; the disk quota may be used up"),
    Rule(_V, "FailedBinding", 120, "the claim names no StorageClass, and no volume is available"),
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """Something wrong with a workload."""

    kind: str  # of what shows it: Pod, ReplicaSet, PersistentVolumeClaim, …
    name: str
    container: str  # the container concerned, as in `init container wait`; empty where none is
    reason: str
    message: str
    meaning: str
    patience: float  # the seconds for which it may last
    limit: str = ""  # which of the time limits in the settings takes its place

    def __str__(self) -> str:
        kind = self.kind.lower() if self.kind == "Pod" else self.kind
        where = f"{kind} {self.name}" + (f", {self.container}" if self.container else "")
        said = f" ({self.message})" if self.message else ""
        return f"{where}: {self.reason}: {self.meaning}{said}"

    @property
    def container_name(self) -> str:
        """The bare name of the container; empty where none is concerned."""
        return self.container.rpartition(" ")[2]

    @property
    def key(self) -> tuple[str, ...]:
        """What stays the same while the problem lasts, though its message may change."""
        return (self.kind, self.name, self.container, self.meaning)

    @property
    def is_lasting(self) -> bool:
        """Whether it fails a deploy by itself, without a time limit."""
        return self.patience < NEVER

    def without_verdict(self) -> "Problem":
        """The same, told only: it never fails a deploy."""
        return replace(self, patience=NEVER, limit="")


def rule(where: Where, reason: str, message: str) -> Rule | None:
    """The first row about a state, if there is one."""
    for one in RULES:
        about = one.where is where and one.reason == reason
        if about and re.search(one.message, message, re.IGNORECASE):
            return one
    return None


def problem(
    where: Where, thing: Object, reason: str, message: str, container: str = "", more: str = ""
) -> Problem | None:
    """The problem that a state of `thing` means, by the table; `more` is added to the meaning.

    None where no row is about it.
    """
    found = rule(where, reason, message)
    if found is None:
        return None
    kind, name = thing["kind"], thing["metadata"]["name"]
    meaning = found.meaning + more
    return Problem(kind, name, container, reason, message, meaning, found.patience, found.limit)
