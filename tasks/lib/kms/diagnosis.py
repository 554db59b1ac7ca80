"""What an answer of Cloud KMS means to the person who deploys: one clear sentence, and what to do.

Pure: everything is decided from the call and from the status that came back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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
    """A call that was made.

    Args:
        verb: what was attempted with the key, such as `decrypt with`.
        key: the full name of the key, or key version.
        host: where KMS was looked for.
        caller: who called, as IAM spells members; empty if that is not known.
        home: the project that calls should count against; empty if that is not known.
    """

    verb: str
    key: str
    host: str
    caller: str = ""
    home: str = ""


@dataclass(frozen=True)
class Fault:
    """How it ended: gRPC's code and message, ErrorInfo's reason and metadata where there was one."""

    code: str
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_passing(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return self.code in WORTH_ANOTHER_TRY and not self.is_distrust

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


def explain(call: Call, fault: Fault) -> Failure:
    """The error to show for a call that ended in `fault`."""
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
    return by_code.get(fault.code, _unexpected)(call, fault)


def _denied(call: Call, fault: Fault) -> Failure:
    if "quota project" in fault.message:
        return Undecided(
            "Your credentials name no quota project, and Cloud KMS wants one.", fault.message,
            f"gcloud auth application-default set-quota-project {call.home or 'PROJECT'}\n"
            "or set google.quota_project in invoke.yaml, or INVOKE_GOOGLE_QUOTA_PROJECT.",
        )  # fmt: skip
    if fault.reason == "SERVICE_DISABLED" or API_DISABLED in fault.message:
        return _api_disabled(call, fault)
    if fault.reason == "USER_PROJECT_DENIED" or "permission to use project" in fault.message:
        project = _project(call, fault)
        return Undecided(
            f"You may not charge quota to project {project}.", fault.message,
            f"gcloud projects add-iam-policy-binding {project} --member={_member(call)} "
            "--role=roles/serviceusage.serviceUsageConsumer",
        )  # fmt: skip
    return _no_role(call, fault)


def _api_disabled(call: Call, fault: Fault) -> Failure:
    """The API is off in the project that the call counts against, or in the key's own."""
    project = _project(call, fault)
    return Undecided(
        f"The Cloud KMS API is not enabled in project {project}.", fault.message,
        f"gcloud services enable cloudkms.googleapis.com --project {project}",
    )  # fmt: skip


def _no_role(call: Call, fault: Fault) -> Failure:
    match = re.search(r"Permission '([^']+)'", fault.message)
    role = ROLES.get(match[1] if match else "", ADMIN)
    key = parse(call.key)
    command = (
        ("add-iam-policy-binding", key.key, f"--member={_member(call)}", f"--role={role}") if key else ()
    )
    return NotPermitted(
        f"You may not {call.verb} the key {short(call.key)}, or there is no such key.", fault.message,
        f"The key's owner runs: {key.gcloud(*command)}" if key else f"Ask the key's owner for {role}.",
    )  # fmt: skip


def _wrong_state(call: Call, fault: Fault) -> Failure:
    if API_DISABLED in fault.message:
        return _api_disabled(call, fault)
    match = re.search(r"(projects/\S+) is not enabled, current state is: (\w+)", fault.message)
    version = parse(match[1]) if match else None
    if not match or not version or not version.version:
        return _unexpected(call, fault)
    state = STATES.get(match[2], f"is in state {match[2]}")
    return Failure(
        f"Version {version.version} of the key {version.key} {state}.", fault.message,
        _way_back(version, match[2]),
    )  # fmt: skip


def _way_back(version: Key, state: str) -> str:
    enable = version.gcloud("versions", "enable", version.version, "--key", version.key)
    if state == "DISABLED":
        return f"If it was disabled by mistake, the key's owner runs: {enable}"
    if state == "DESTROY_SCHEDULED":
        restore = version.gcloud("versions", "restore", version.version, "--key", version.key)
        return f"The key's owner runs: {restore}\nand then: {enable}"
    return "Nothing can bring it back: the key's owner encrypts the file anew (./inv secrets.encrypt)."


def _refused(call: Call, fault: Fault) -> Failure:
    if "correct CryptoKey" in fault.message:
        # Cloud KMS says this of a file whose beginning is damaged as well: it cannot tell whose it was.
        return Failure(
            f"It was encrypted with another key than {short(call.key)}, or its beginning is damaged.",
            f"The key in settings is {call.key}.",
            "Name the file's own key in invoke.yaml (environments.….secrets.files), put back the last\n"
            "good file (git checkout -- FILE), or have the key's owner encrypt it anew.",
        )  # fmt: skip
    if "ciphertext is invalid" in fault.message:
        return Failure(
            "The encrypted file is damaged, or is no ciphertext of Cloud KMS.", fault.message,
            "Put back the last good one (git checkout -- FILE), or have the key's owner encrypt it anew.",
        )  # fmt: skip
    return Failure(
        f"Cloud KMS refused the request to {call.verb} {short(call.key)}.", fault.message,
        "Compare kms.* and environments.….secrets.files with invoke.yaml's comments: ./inv settings",
    )  # fmt: skip


def _not_found(call: Call, fault: Fault) -> Failure:
    key = parse(call.key)
    return Failure(
        f"The key {short(call.key)} does not exist.", fault.message,
        f"Compare with the keys there are: {key.gcloud('list')}" if key else "Check kms.* in invoke.yaml.",
    )  # fmt: skip


def _not_authenticated(_call: Call, fault: Fault) -> Failure:
    return Undecided("Google does not accept your credentials.", fault.message, LOG_IN)


def _over_quota(_call: Call, fault: Fault) -> Failure:
    return Undecided(
        "The quota of Cloud KMS is used up for this minute.", fault.message,
        "Wait a minute and try again; https://console.cloud.google.com/iam-admin/quotas shows the limits.",
    )  # fmt: skip


def _unreachable(call: Call, fault: Fault) -> Failure:
    if fault.is_distrust:
        return Undecided(
            f"The certificate of {call.host} is not one that this machine trusts.", fault.message,
            "A proxy that opens TLS needs its authority in google.ca_file; else somebody is in between.",
        )  # fmt: skip
    return Undecided(
        f"Cloud KMS does not answer at {call.host}.", fault.message,
        "Check the network, a proxy or VPN and google.kms in the settings; ./inv doctor tells more.",
    )  # fmt: skip


def _unexpected(call: Call, fault: Fault) -> Failure:
    return Undecided(
        f"Cloud KMS could not {call.verb} the key {short(call.key)}.", f"{fault.code}: {fault.message}",
        "Try again; https://status.cloud.google.com says whether Google has trouble.",
    )  # fmt: skip


def _member(call: Call) -> str:
    return call.caller or "user:YOU@example.org"


def _project(call: Call, fault: Fault) -> str:
    """The project a refusal is about; the key's, where it names none."""
    if consumer := fault.metadata.get("consumer", "").removeprefix("projects/"):
        return consumer
    key = parse(call.key)
    match = re.search(r"in project ([\w-]+)|use project ([\w-]+)|[?&]project=([\w-]+)", fault.message)
    named = next(filter(None, match.groups()), "") if match else ""
    return named or (key.project if key else "PROJECT")
