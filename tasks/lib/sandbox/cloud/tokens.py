"""Access tokens of the sandbox: opaque to clients, as Google's are, and signed, so that any server here can
read
them without asking another.  A token outlives a restart of whoever issued it, and ends at its expiry.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import threading
import time
from pathlib import Path

from tasks.lib.files import write_atomically

PREFIX = "ya29.sandbox-"
LIFETIME = 3600
KEY_FILE = "token.key"
LIST = "tokens.json"
_one_writer = threading.Lock()


def signing_key(google: Path) -> bytes:
    """The key that tokens are signed with, made when missing.

    Args:
        google: the folder of the Google side (`State.google`).

    """
    path = google / KEY_FILE
    if not path.exists():
        write_atomically(path, os.urandom(32))
    return path.read_bytes()


def issue(key: bytes, email: str, now: float, lifetime: int = LIFETIME) -> str:
    """A token for the service account `email` that is good until `now + lifetime` (seconds)."""
    claims = json.dumps({"email": email, "exp": int(now) + lifetime}).encode()
    return f"{PREFIX}{_encode(claims)}.{_encode(_sign(key, claims))}"


def holder(key: bytes, token: str, now: float | None = None) -> str:
    """The service account that a token was issued to; empty when it is not one of ours, or has expired."""
    claims, _, signature = token.removeprefix(PREFIX).partition(".")
    try:
        text = _decode(claims)
        if not token.startswith(PREFIX) or not hmac.compare_digest(_sign(key, text), _decode(signature)):
            return ""
        found = json.loads(text)
    except (binascii.Error, ValueError):
        return ""
    expired = found["exp"] <= (time.time() if now is None else now)
    return "" if expired else str(found["email"])


def record(google: Path, token: str, email: str, now: float) -> None:
    """Add a token to the list that the sandbox's KMS reads, and drop from it those that have expired."""
    path, key = google / LIST, signing_key(google)
    with _one_writer:
        known = json.loads(path.read_text()) if path.exists() else {}
        good = {token: email for token, email in known.items() if holder(key, token, now)}
        write_atomically(path, json.dumps({**good, token: email}).encode())


def _sign(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
