"""Google's token endpoint for service accounts (RFC 7523), and the review of tokens for API servers."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.cloud import accounts, tokens
from sandbox.cloud.answers import Answer

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def token(google: Path, form: Mapping[str, str]) -> Answer:
    """Exchange the signed assertion in the fields of a request for an access token."""
    if form.get("grant_type") != GRANT_TYPE:
        return _refused("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
    try:
        claims = _verified(google, form.get("assertion", ""))
    except ValueError as error:
        return _refused("invalid_grant", str(error))
    scopes = str(claims.get("scope", "")).split()
    if not scopes:
        return _refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    issued = tokens.issue(google, claims["iss"], time.time(), scopes)
    return Answer(200, {"access_token": issued, "expires_in": tokens.LIFETIME - 1, "token_type": "Bearer"})


def review(google: Path, request: Mapping[str, Any]) -> Answer:
    """Answer a Kubernetes TokenReview: whose token is it?

    As on GKE, only a token with the scope userinfo.email has the address as its user; else it is the number.
    """
    found = tokens.holder(google, str(request.get("spec", {}).get("token", "")))
    status: dict[str, Any] = {"authenticated": bool(found and accounts.find(google, found.email))}
    if found and status["authenticated"]:
        number = accounts.number_of(found.email)
        name = found.email if tokens.EMAIL in found.scopes else number
        status["user"] = {"username": name, "uid": number, "groups": ["system:authenticated"]}
    return Answer(200, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})


def _verified(google: Path, assertion: str) -> dict[str, Any]:
    """The claims of an assertion, once its signature and times are checked.

    Raises:
        ValueError: it is malformed, expired, or signed by another key; in Google's words.

    """
    from google.auth import jwt
    from google.auth.exceptions import InvalidValue, MalformedError

    try:
        claims: dict[str, Any] = jwt.decode(assertion, verify=False)
        account = accounts.find(google, str(claims.get("iss", "")))
    except MalformedError as error:
        raise ValueError("Invalid JWT: Failed to parse.") from error
    if not account:
        raise ValueError("Invalid grant: account not found")
    try:
        jwt.decode(assertion, certs=account.public_key)
    except MalformedError as error:
        raise ValueError("Invalid JWT Signature.") from error
    except InvalidValue as error:
        raise ValueError(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        ) from error
    return claims


def _refused(code: str, description: str) -> Answer:
    return Answer(400, {"error": code, "error_description": description})
