"""What an error of Cloud KMS means to the person who deploys, and whether the call may be tried again.

Pure: everything is decided from the call and from the status that came back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.lib.errors import Failure
from tasks.lib.kms.keys import Key, parse, short

LOG_IN = "Run `gcloud auth application-default login`, or check what google.credentials_file points at."
STATES = {
    "DISABLED": "is disabled",
    "DESTROY_SCHEDULED": "is scheduled for destruction",
    "DESTROYED": "is destroyed for good",
}
ROLES = {
    "cloudkms.cryptoKeyVersions.useToDecrypt": "roles/cloudkms.cryptoKeyDecrypter",
    "cloudkms.cryptoKeyVersions.useToEncrypt": "roles/cloudkms.cryptoKeyEncrypter",
    "cloudkms.cryptoKeys.get": "roles/cloudkms.viewer",
    "cloudkms.cryptoKeyVersions.list": "roles/cloudkms.viewer",
}
WORTH_ANOTHER_TRY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"})
ADMIN = "roles/cloudkms.admin"
# Said of the caller's project with PERMISSION_DENIED ("in project 123"), and of the key's own with
# FAILED_PRECONDITION ("in this project", with the number in a link).
API_DISABLED = "API has not been used in "


@dataclass(frozen=True)
class Call:
    """A call that was made."""

    verb: str  # what was attempted with the key, such as `decrypt with`
    key: str  # the full name of the key, or key version
    host: str
    caller: str = ""  # as IAM spells members; empty if that is not known
    home: str = ""  # the project that calls should count against; empty if that is not known

    @property
    def member(self) -> str:
        """The caller in a command that grants a role."""
        return self.caller or "user:YOU@example.org"


@dataclass(frozen=True)
class Problem:
    """How it ended: gRPC's code and message, ErrorInfo's reason and metadata where there was one."""

    code: str
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return self.is_damage or (self.code in WORTH_ANOTHER_TRY and not self.is_distrust)

    @property
    def is_damage(self) -> bool:
        """Whether KMS received other bytes than were sent."""
        return "The checksum in field" in self.message

    @property
    def is_distrust(self) -> bool:
        """Whether the other side could not prove that it is who we asked for."""
        return "CERTIFICATE_VERIFY_FAILED" in self.message


class Undecided(Failure):
    """KMS was not reached, or does not let this caller ask: nothing is known about the ciphertext."""


class ChecksumMismatch(Undecided):
    """Bytes were damaged between here and KMS; sending them again may help."""


class NotPermitted(Undecided):
    """The caller lacks a role on the key, or there is no such key."""


def damaged(call: Call, what: str) -> ChecksumMismatch:
    """The error for a checksum that does not fit."""
    return ChecksumMismatch(
        f"Bytes were damaged between here and Cloud KMS ({call.host}).",
        f"{what}, in every attempt.",
        "Try again; if it happens again, look for a proxy that changes traffic, or faulty memory.",
    )


def explain(call: Call, problem: Problem) -> Failure:
    """The error to show for a call that ended in `problem`."""
    if problem.is_damage:
        return damaged(call, problem.message)
    if "quota project" in problem.message:
        return _no_quota_project(call, problem)
    if problem.reason == "SERVICE_DISABLED" or API_DISABLED in problem.message:
        return _api_disabled(call, problem)
    by_code = {
        "PERMISSION_DENIED": _denied,
        "FAILED_PRECONDITION": _wrong_state,
        "INVALID_ARGUMENT": _refused,
        "NOT_FOUND": _not_found,
        "UNAUTHENTICATED": _not_authenticated,
        "RESOURCE_EXHAUSTED": _over_quota,
        "UNAVAILABLE": _unreachable,
        "DEADLINE_EXCEEDED": _unreachable,
    }
    return by_code.get(problem.code, _unexpected)(call, problem)


def problem_of(error: Any) -> Problem:
    """The status that a call ended with, in an exception of google-api-core."""
    code = error.grpc_status_code.name if error.grpc_status_code else "UNKNOWN"
    return Problem(code, error.message or "", error.reason or "", dict(error.metadata or {}))


def may_succeed_later(error: Exception) -> bool:
    """Whether the same call may succeed a moment later."""
    from google.api_core.exceptions import GoogleAPICallError

    if isinstance(error, GoogleAPICallError):
        return problem_of(error).may_pass
    return isinstance(error, ChecksumMismatch)


def most_telling(errors: "list[Exception]", *_: object) -> tuple[Exception, None]:
    """Which error of all attempts to show: that the last one ran out of time says less than any other."""
    from google.api_core.exceptions import DeadlineExceeded

    telling = [error for error in errors if not isinstance(error, DeadlineExceeded)]
    return (telling or errors)[-1], None


def not_yet_primary(key: str, number: str, failure: Failure) -> Failure:
    """The error for a new version that could not be made the primary one, because of `failure`."""
    name = parse(key)
    command = name.gcloud("set-primary-version", name.key, "--version", number) if name else "make it primary"
    return Failure(
        f"Version {number} of the key {short(key)} was made, but does not encrypt yet.",
        "\n".join(filter(None, (failure.what, failure.why))),
        f"The key's owner runs: {command}\nand then ./inv secrets.rotate, without --new-version.",
    )


def _no_quota_project(call: Call, problem: Problem) -> Failure:
    return Undecided(
        "Your credentials name no quota project, and Cloud KMS wants one.", problem.message,
        f"gcloud auth application-default set-quota-project {call.home or 'PROJECT'}\n"
        "or set google.quota_project in invoke.yaml, or INVOKE_GOOGLE_QUOTA_PROJECT.",
    )  # fmt: skip


def _denied(call: Call, problem: Problem) -> Failure:
    if problem.reason == "USER_PROJECT_DENIED" or "permission to use project" in problem.message:
        project = _project(call, problem)
        return Undecided(
            f"You may not charge quota to project {project}.", problem.message,
            f"gcloud projects add-iam-policy-binding {project} --member={call.member} "
            "--role=roles/serviceusage.serviceUsageConsumer",
        )  # fmt: skip
    return _no_role(call, problem)


def _api_disabled(call: Call, problem: Problem) -> Failure:
    """The API is off in the project that the call counts against, or in the key's own."""
    project = _project(call, problem)
    return Undecided(
        f"The Cloud KMS API is not enabled in project {project}.", problem.message,
        f"gcloud services enable cloudkms.googleapis.com --project {project}",
    )  # fmt: skip


def _no_role(call: Call, problem: Problem) -> Failure:
    match = re.search(r"Permission '([^']+)'", problem.message)
    role = ROLES.get(match[1] if match else "", ADMIN)
    key = parse(call.key)
    command = ("add-iam-policy-binding", key.key, f"--member={call.member}", f"--role={role}") if key else ()
    return NotPermitted(
        f"You may not {call.verb} the key {short(call.key)}, or there is no such key.", problem.message,
        f"The key's owner runs: {key.gcloud(*command)}" if key else f"Ask the key's owner for {role}.",
    )  # fmt: skip


def _wrong_state(call: Call, problem: Problem) -> Failure:
    match = re.search(r"(projects/\S+) is not enabled, current state is: (\w+)", problem.message)
    version = parse(match[1]) if match else None
    if not match or not version or not version.version:
        return _unexpected(call, problem)
    state = STATES.get(match[2], f"is in state {match[2]}")
    return Failure(
        f"Version {version.version} of the key {version.key} {state}.", problem.message,
        _restore(version, match[2]),
    )  # fmt: skip


def _restore(version: Key, state: str) -> str:
    enable = version.gcloud("versions", "enable", version.version, "--key", version.key)
    if state == "DISABLED":
        return f"If it was disabled by mistake, the key's owner runs: {enable}"
    if state == "DESTROY_SCHEDULED":
        restore = version.gcloud("versions", "restore", version.version, "--key", version.key)
        return f"The key's owner runs: {restore}\nand then: {enable}"
    return "It cannot be restored: the key's owner has to encrypt the file again (./inv secrets.encrypt)."


def _refused(call: Call, problem: Problem) -> Failure:
    if "correct CryptoKey" in problem.message:
        # Cloud KMS says this of a file whose beginning is damaged as well: it cannot tell whose it was.
        return Failure(
            f"It was encrypted with another key than {short(call.key)}, or its beginning is damaged.",
            f"The key in settings is {call.key}.",
            "Name the file's own key in invoke.yaml (environments.….secrets.files), put back the last\n"
            "good file (git checkout -- FILE), or have the key's owner encrypt it again.",
        )  # fmt: skip
    if "ciphertext is invalid" in problem.message:
        return Failure(
            "The encrypted file is damaged, or not a ciphertext of Cloud KMS.", problem.message,
            "Put back the last good one (git checkout -- FILE), or have the key's owner encrypt it again.",
        )  # fmt: skip
    return Failure(
        f"Cloud KMS refused the request to {call.verb} {short(call.key)}.", problem.message,
        "Compare kms.* and environments.….secrets.files with invoke.yaml's comments: ./inv settings",
    )  # fmt: skip


def _not_found(call: Call, problem: Problem) -> Failure:
    key = parse(call.key)
    return Failure(
        f"The key {short(call.key)} does not exist.", problem.message,
        f"Compare with the keys there are: {key.gcloud('list')}" if key else "Check kms.* in invoke.yaml.",
    )  # fmt: skip


def _not_authenticated(_call: Call, problem: Problem) -> Failure:
    return Undecided("Google does not accept your credentials.", problem.message, LOG_IN)


def _over_quota(_call: Call, problem: Problem) -> Failure:
    return Undecided(
        "The quota of Cloud KMS is used up for this minute.", problem.message,
        "Wait a minute and try again; https://console.cloud.google.com/iam-admin/quotas shows the limits.",
    )  # fmt: skip


def _unreachable(call: Call, problem: Problem) -> Failure:
    if problem.is_distrust:
        return Undecided(
            f"The certificate of {call.host} is not one that this machine trusts.", problem.message,
            "A proxy that opens TLS needs its authority in google.ca_file; else somebody is in between.",
        )  # fmt: skip
    return Undecided(
        f"Cloud KMS does not answer at {call.host}.", problem.message,
        "Check the network, a proxy or VPN and google.kms in the settings; ./inv doctor tells more.",
    )  # fmt: skip


def _unexpected(call: Call, problem: Problem) -> Failure:
    return Undecided(
        f"Cloud KMS could not {call.verb} the key {short(call.key)}.", f"{problem.code}: {problem.message}",
        "Try again; https://status.cloud.google.com says whether Google has trouble.",
    )  # fmt: skip


def _project(call: Call, problem: Problem) -> str:
    """The project a refusal is about; the key's, where it names none."""
    if consumer := problem.metadata.get("consumer", "").removeprefix("projects/"):
        return consumer
    key = parse(call.key)
    match = re.search(r"in project ([\w-]+)|use project ([\w-]+)|[?&]project=([\w-]+)", problem.message)
    named = next(filter(None, match.groups()), "") if match else ""
    return named or (key.project if key else "PROJECT")
