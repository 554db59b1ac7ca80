"""Google's token endpoint for service accounts (RFC 7523), and the review of tokens for API servers."""

import base64
import binascii
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.cloud import accounts, tokens
from sandbox.cloud.answers import Answer

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def token(google: Path, form: Mapping[str, str]) -> Answer:
    """Exchange a signed assertion for an access token.

    Args:
        google: the folder of the Google side.
        form: the fields of the request: `grant_type` and `assertion`.

    """
    if form.get("grant_type") != GRANT_TYPE:
        return _refused("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
    try:
        account, scopes = _verified(google, form.get("assertion", ""))
    except ValueError as error:
        return _refused("invalid_grant", str(error))
    if not scopes:
        return _refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    issued = tokens.issue(tokens.signing_key(google), account, time.time(), scopes)
    tokens.record(google, issued, time.time())
    return Answer(200, {"access_token": issued, "expires_in": tokens.LIFETIME - 1, "token_type": "Bearer"})


def review(google: Path, request: Mapping[str, Any]) -> Answer:
    """Answer a Kubernetes TokenReview: whose token is it?

    As in GKE, the address is known of a token with the scope userinfo.email alone; else the number is.
    """
    found = tokens.holder(tokens.signing_key(google), str(request.get("spec", {}).get("token", "")))
    status: dict[str, Any] = {"authenticated": bool(found and accounts.find(google, found.email))}
    if found and status["authenticated"]:
        number = accounts.number_of(found.email)
        name = found.email if tokens.EMAIL in found.scopes else number
        status["user"] = {"username": name, "uid": number, "groups": ["system:authenticated"]}
    return Answer(200, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})


def _verified(google: Path, assertion: str) -> tuple[str, list[str]]:
    """The account that signed the assertion, and the scopes that it asks for.

    Raises:
        ValueError: it is malformed, expired, or signed by another key; in Google's words.

    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    signed, _, signature = assertion.rpartition(".")
    try:
        claims = json.loads(_decoded(signed.partition(".")[2]))
        account = accounts.find(google, str(claims.get("iss", "")))
    except (binascii.Error, ValueError, AttributeError) as error:
        raise ValueError("Invalid JWT: Failed to parse.") from error
    if not account:
        raise ValueError("Invalid grant: account not found")
    public = load_pem_public_key(account.public_key.encode())
    try:
        assert isinstance(public, rsa.RSAPublicKey)  # noqa: S101 - accounts are made with RSA keys
        public.verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error) as error:
        raise ValueError("Invalid JWT Signature.") from error
    if not claims.get("iat", 0) - 300 <= time.time() < claims.get("exp", 0):
        raise ValueError(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        )
    return account.email, str(claims.get("scope", "")).split()


def _refused(code: str, description: str) -> Answer:
    return Answer(400, {"error": code, "error_description": description})


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
