"""What the service answers when it refuses a call: Google's codes and messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818 - the service refuses; nothing has gone wrong in it
    """An RPC that ends with a status other than OK."""

    code: str  # of gRPC, by name
    message: str
    reason: str = ""  # of google.rpc.ErrorInfo; empty for no ErrorInfo
    metadata: Mapping[str, str] = field(default_factory=dict)


def invalid(message: str) -> Refusal:
    """The request itself is wrong; sending it again cannot help."""
    return Refusal("INVALID_ARGUMENT", message)


def bad_checksum(field_name: str) -> Refusal:
    """A field does not match the checksum that came with it: it was damaged on its way here."""
    return invalid(f"The checksum in field {field_name}_crc32c did not match the data in field {field_name}.")


def not_found(kind: str, name: str) -> Refusal:
    """No such resource."""
    return Refusal("NOT_FOUND", f"{kind} {name} not found.")


def exists(kind: str, name: str) -> Refusal:
    """The resource is there already: creating is not idempotent in Cloud KMS."""
    return Refusal("ALREADY_EXISTS", f"{kind} {name} already exists.")


def wrong_state(version: str, wanted: str, state: str) -> Refusal:
    """A version is not in the state that the call needs."""
    return Refusal("FAILED_PRECONDITION", f"{version} is not {wanted}, current state is: {state}.")


def misrouted(location: str, sent_to: str) -> Refusal:
    """The call went to the front end of another location than the resource's."""
    return Refusal(
        "NOT_FOUND",
        f"The request concerns location '{location}' but was sent to location '{sent_to}'. Either Cloud KMS "
        f"is not available in '{location}' or the request was misrouted. Make sure the "
        "'x-goog-request-params' metadata is set correctly; see https://cloud.google.com/kms/docs/grpc for "
        "more information.",
    )


def not_permitted(permission: str, resource: str) -> Refusal:
    """The caller lacks a permission, or the resource does not exist: Google does not tell which."""
    return Refusal(
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
        "IAM_PERMISSION_DENIED", {"permission": permission, "resource": resource},
    )  # fmt: skip


def not_authenticated(how: str) -> Refusal:
    """No token, or one that this service does not know."""
    return Refusal(
        "UNAUTHENTICATED",
        f"Request {how}. Expected OAuth 2 access token, login cookie or other valid authentication "
        "credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
    )


def out_of_scope() -> Refusal:
    """A token that is good, but not for this service."""
    return Refusal(
        "PERMISSION_DENIED", "Request had insufficient authentication scopes.",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
    )  # fmt: skip


def beyond_the_sandbox(what: str) -> Refusal:
    """Something Cloud KMS has and this one does not."""
    return Refusal("UNIMPLEMENTED", f"The sandbox's KMS does not know {what}.")
