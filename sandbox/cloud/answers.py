"""Answers of Google's REST APIs, errors among them, in the shape that its documentation gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
}


@dataclass(frozen=True)
class Answer:
    """An HTTP status and the JSON that goes with it."""

    status: int
    body: Mapping[str, Any]


def error(status: int, message: str) -> Answer:
    """An error as every Google API spells it (google.rpc.Status under `error`)."""
    return Answer(status, {"error": {"code": status, "message": message, "status": STATUS_NAMES[status]}})


def unauthenticated() -> Answer:
    """No token, or one that is not good."""
    return error(
        401,
        "Request had invalid authentication credentials. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential. See "
        "https://developers.google.com/identity/sign-in/web/devconsole-project.",
    )


def out_of_scope() -> Answer:
    """A token whose scopes do not reach this API."""
    return error(403, "Request had insufficient authentication scopes.")


def forbidden(permission: str, resource: str) -> Answer:
    """A known account without the permission that the call needs."""
    return error(403, f'Required "{permission}" permission(s) for "{resource}".')
