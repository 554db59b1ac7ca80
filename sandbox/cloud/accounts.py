"""Service accounts of the sandbox: a key file for the client; for the server a public key and permissions."""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tasks.lib.files import write_atomically

DEPLOYER_PERMISSIONS = (
    "container.clusters.get",
    "cloudsql.instances.get",
    "cloudsql.backupRuns.create",
    "cloudsql.backupRuns.list",
    "secretmanager.versions.access",
)


@dataclass(frozen=True)
class Account:
    """What the Google side knows about one service account."""

    email: str
    public_key: str
    permissions: frozenset[str]


def email_of(name: str, project: str) -> str:
    """The address of the service account `name`, as Google forms it; Kubernetes sees it as the user name."""
    return f"{name}@{project}.iam.gserviceaccount.com"


def number_of(email: str) -> str:
    """The unique ID of a service account: 21 digits, as Google's have."""
    return f"1{int(hashlib.sha256(email.encode()).hexdigest(), 16) % 10**20:020}"


def create(google: Path, name: str, project: str, token_uri: str, permissions: Iterable[str]) -> Path:
    """Create a service account, or update its token endpoint and permissions; its key is kept.

    Returns its key file, as `gcloud iam service-accounts keys create` writes one.
    """
    path = google / f"{name}.json"
    key = json.loads(path.read_text()) if path.exists() else _new_key(email_of(name, project), project)
    write_atomically(path, json.dumps({**key, "token_uri": token_uri}, indent=2).encode())
    email, public = key["client_email"], _public_key(key["private_key"])
    known = {"email": email, "public_key": public, "permissions": sorted(permissions)}
    write_atomically(google / "accounts" / f"{email}.json", json.dumps(known, indent=1).encode())
    return path


def find(google: Path, email: str) -> Account | None:
    """The account with this address; None where there is none."""
    path = google / "accounts" / f"{email}.json"
    if "/" in email or not path.exists():
        return None
    known = json.loads(path.read_text())
    return Account(known["email"], known["public_key"], frozenset(known["permissions"]))


def _new_key(email: str, project: str) -> dict[str, Any]:
    """A key file's content, with all members that Google writes."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": secrets.token_hex(20),
        "private_key": pem.decode(),
        "client_email": email,
        "client_id": number_of(email),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{quote(email)}",
        "universe_domain": "googleapis.com",
    }


def _public_key(private_pem: str) -> str:
    from cryptography.hazmat.primitives import serialization

    private = serialization.load_pem_private_key(private_pem.encode(), None)
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()
