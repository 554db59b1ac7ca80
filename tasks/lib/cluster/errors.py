"""Refusals of the Kubernetes API, with the cause and what to do."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.lib.errors import Failure

NEXT_STEPS: Mapping[int, str] = {
    401: "Renew the credentials: `gcloud auth application-default login`, then run the same command again.",
    403: "Ask an owner of the project for the role; docs/deploy.md lists the permissions a deploy needs.",
    404: "Check that the kind is installed in the cluster: `kubectl api-resources`.",
    409: "Look at who changes the object: `kubectl get … -o yaml --show-managed-fields`.",
    413: "The object is larger than the API server takes (about 1.5 MB): split it.",
    422: "Fix the manifest at the field named above.",
    429: "The API server is overloaded: wait a minute and run the same command again.",
}
# Quotas and admission policies also answer 403, with other messages than for a missing role.
RULE = re.compile(r"exceeded quota|denied (the )?request|violates PodSecurity|usage per (Pod|Container)")
BY_RULE = (
    "A rule of the cluster forbids it: quota, a limit range or an admission policy. docs/on-call.md says "
    "what to do about each."
)
# The server's message for a webhook that does not answer; it may be restarting.
SILENT_WEBHOOK = re.compile(r'failed calling webhook "([^"]+)"')
# GKE's name for a service account whose token lacks the scope for its e-mail address.
NUMBERED = re.compile(r'User "\d+"')
BY_NUMBER = (
    "The token lacks the scope userinfo.email, so GKE knows the account by this number only. A VM has the "
    "scopes that it was created with: `gcloud compute instances set-service-account VM --scopes "
    "cloud-platform,userinfo-email`; or bind the role to the number."
)
FORBIDDEN = ((RULE, BY_RULE), (NUMBERED, BY_NUMBER))
TERMINATING = "because it is being terminated"
NAMESPACE_DELETED = (
    "The namespace is being deleted: wait until `kubectl get namespace` no longer lists it, then run the "
    "same command again. Its status says what blocks it."
)
# etcd's message when it has reached its quota.
FULL = "database space exceeded"
FREE_SPACE = (
    "The cluster's etcd is full. Delete unused objects, compact and defragment etcd, and disarm its alarm "
    "(on GKE: ask support), then run the same command again."
)
# An object that does not fit its schema: the server answers 500 although the error is not its own.  Custom
# resources are left out: the server may not have their newest schema yet.
BUILT_IN = r"\(.*; ([a-z]*|(networking|rbac\.authorization|storage)\.k8s\.io)/v\w+, Kind=\w+\)"
UNTYPED = re.compile(
    rf"failed to create typed patch object {BUILT_IN}"
    rf"|failed to convert new object {BUILT_IN} .*unable to convert unstructured"
)
# The message of etcd, or of the server's client for etcd, about one object: the server answers 500.
TOO_LARGE = re.compile(r"etcdserver: request is too large|trying to send message larger than max")
NOT_REACHED = (
    "Check the network, a VPN or proxy, and whether the cluster admits this address: "
    "GKE console → cluster → control plane authorised networks."
)
# The messages of the system and of urllib3 for a request that was sent and not answered in time.
NO_ANSWER = re.compile(r"\bread\b.* timed out", re.IGNORECASE)
SLOW = (
    "It received the request and did not answer in time: it is overloaded, waits for a webhook that does not "
    "answer (`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations` lists them), or the "
    "network failed. Run the same command again."
)
AGAIN = "Run the same command again; objects that were applied are kept."


@dataclass(frozen=True)
class Cause:
    """One problem that the server names: the field, and what is wrong with it."""

    reason: str
    field: str
    message: str


class ApiError(Failure):
    """The API server answered with an error.

    Args:
        doing: the request, such as `apply Deployment staging-web`.
        reason: the machine-readable reason, such as `AlreadyExists`.
        causes: single problems, where the server lists them.

    """

    def __init__(
        self, doing: str, status: int, reason: str, message: str, causes: Sequence[Cause] = ()
    ) -> None:
        super().__init__(
            f"The cluster refused to {doing} ({status} {reason}).", message, next_step(status, message)
        )  # fmt: skip
        self.doing = doing
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = tuple(causes)

    @property
    def in_short(self) -> str:
        """The server's message, or the single problems with their fields where it lists them."""
        told = (f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in self.causes)
        return "; ".join(told) or self.message


def is_permanent(message: str) -> bool:
    """Whether an error stays until someone fixes it, although its status is a temporary one."""
    return FULL in message or bool(UNTYPED.match(message) or TOO_LARGE.search(message))


def next_step(status: int, message: str) -> str:
    """What to do about a refusal."""
    if FULL in message:
        return FREE_SPACE
    if TOO_LARGE.search(message):
        return NEXT_STEPS[413]
    if TERMINATING in message:
        return NAMESPACE_DELETED
    if silent := SILENT_WEBHOOK.search(message):
        return (
            f"The webhook {silent[1]} does not answer: check the pods behind its service, which "
            "`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml` names. "
            f"{AGAIN}"
        )
    if status == 403:
        return next((step for words, step in FORBIDDEN if words.search(message)), NEXT_STEPS[403])
    return NEXT_STEPS[422] if UNTYPED.match(message) else NEXT_STEPS.get(status, AGAIN)


class Unreachable(Failure):
    """The API server could not be reached, or did not answer in time."""

    def __init__(self, server: str, why: str) -> None:
        how, next_step = (
            ("did not answer", SLOW) if NO_ANSWER.search(why) else ("could not be reached", NOT_REACHED)
        )
        super().__init__(f"The cluster's API server {server} {how}.", why, next_step)


def object_in(data: bytes) -> dict[str, Any] | None:
    """The JSON object in an answer; None for anything else, such as a proxy's error or a login page."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def api_error(doing: str, status: int, body: bytes) -> ApiError:
    """The error in a response: a Status object or, from a proxy, any text."""
    answer = object_in(body)
    if answer is None:
        text = body.decode(errors="replace").strip()[:500]
        return ApiError(doing, status, "without a reason", text or "The answer was empty.")
    return from_status(doing, {**answer, "code": answer.get("code") or status})


def from_status(doing: str, answer: Mapping[str, Any]) -> ApiError:
    """The error in a Status object, from a response or an ERROR event of a watch."""
    listed = (answer.get("details") or {}).get("causes") or []
    causes = [Cause(c.get("reason", ""), c.get("field", ""), c.get("message", "")) for c in listed]
    return ApiError(
        doing, int(answer.get("code", 0)), str(answer.get("reason") or "without a reason"),
        str(answer.get("message") or "The answer gives no message."), causes,
    )  # fmt: skip
