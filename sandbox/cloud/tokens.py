"""Access tokens of the sandbox, in a file that its servers read: whose each is, its scopes, its expiry.

A token outlives a restart of the server that issued it. It reaches no further than its scopes,
https://developers.google.com/identity/protocols/oauth2/scopes.
"""

import json
import secrets
import threading
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.lib.files import write_atomically

PREFIX = "ya29.sandbox-"
LIFETIME = 3600
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
FILE = "tokens.json"
_one_writer = threading.Lock()


@dataclass(frozen=True)
class Holder:
    """Whose token it is, what it reaches, and when it expires (seconds since the epoch)."""

    email: str
    scopes: Collection[str]
    expires: float


def issue(folder: Path, email: str, now: float, scopes: Collection[str] = (CLOUD_PLATFORM, EMAIL)) -> str:
    """A new token for the service account `email`; those that have expired are dropped."""
    token = f"{PREFIX}{secrets.token_urlsafe(32)}"
    with _one_writer:
        good = {known: holder for known, holder in _read(folder).items() if holder.expires > now}
        good[token] = Holder(email, sorted(scopes), now + LIFETIME)
        content = {known: asdict(holder) for known, holder in good.items()}
        write_atomically(folder / FILE, json.dumps(content).encode())
    return token


def holder(folder: Path, token: str) -> Holder | None:
    """Whom a token was issued to; None when it is unknown or has expired."""
    found = _read(folder).get(token)
    return found if found and found.expires > time.time() else None


def _read(folder: Path) -> dict[str, Holder]:
    path = folder / FILE
    content = json.loads(path.read_text()) if path.exists() else {}
    return {token: Holder(**values) for token, values in content.items()}
