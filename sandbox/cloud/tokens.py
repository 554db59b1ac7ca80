"""Access tokens of the sandbox: opaque to clients, as Google's are, and signed, so that any server here can
read them without asking another.  A token outlives a restart of whoever issued it, and ends at its expiry.
It reaches no further than its scopes, https://developers.google.com/identity/protocols/oauth2/scopes.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tasks.lib.files import write_atomically

PREFIX = "ya29.sandbox-"
LIFETIME = 3600
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
ALL_SCOPES = frozenset({CLOUD_PLATFORM, EMAIL})
KEY_FILE = "token.key"
LIST = "tokens.json"
_one_writer = threading.Lock()


@dataclass(frozen=True)
class Holder:
    """Whose token it is, and what it reaches."""

    email: str
    scopes: frozenset[str]


def signing_key(google: Path) -> bytes:
    """The key that tokens are signed with, made when missing.

    Args:
        google: the folder of the Google side (`State.google`).

    """
    path = google / KEY_FILE
    if not path.exists():
        write_atomically(path, os.urandom(32))
    return path.read_bytes()


def issue(key: bytes, email: str, now: float, scopes: Collection[str] = ALL_SCOPES) -> str:
    """A token for the service account `email` with these scopes that is good for `LIFETIME`."""
    claims = json.dumps({"email": email, "exp": int(now) + LIFETIME, "scopes": sorted(scopes)}).encode()
    return f"{PREFIX}{_encode(claims)}.{_encode(_sign(key, claims))}"


def holder(key: bytes, token: str, now: float | None = None) -> Holder | None:
    """Whom a token was issued to; None when it is not one of ours, or has expired."""
    claims, _, signature = token.removeprefix(PREFIX).partition(".")
    try:
        text = _decode(claims)
        if not token.startswith(PREFIX) or not hmac.compare_digest(_sign(key, text), _decode(signature)):
            return None
        found = json.loads(text)
    except (binascii.Error, ValueError):
        return None
    expired = found["exp"] <= (time.time() if now is None else now)
    return None if expired else Holder(found["email"], frozenset(found.get("scopes", ())))


def record(google: Path, token: str, now: float) -> None:
    """Add a token to the list that the sandbox's KMS reads, and drop from it those that have expired.

    One whose scopes do not reach the KMS stands there without an address.
    """
    path, key = google / LIST, signing_key(google)
    with _one_writer:
        known = json.loads(path.read_text()) if path.exists() else {}
        good = {token: email for token, email in known.items() if holder(key, token, now)}
        found = holder(key, token, now)
        email = found.email if found and CLOUD_PLATFORM in found.scopes else ""
        write_atomically(path, json.dumps({**good, token: email}).encode())


def _sign(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
