"""What the Cloud SQL Auth Proxy asks of the Cloud SQL Admin API: where an instance is, and a certificate.

With that it connects to port 3307 of the instance (sandbox/containers/cloud_sql.py).
https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1beta4/connect
"""

import datetime
import json
from dataclasses import dataclass
from pathlib import Path

from sandbox import certificates
from sandbox.certificates import Pair
from sandbox.cloud import sql
from sandbox.cloud.answers import Answer, error
from tasks.lib.files import write_atomically

PORT = 3307
LIFETIME = datetime.timedelta(hours=1)
VERSION = "POSTGRES_17"


@dataclass(frozen=True)
class Front:
    """The certificates of an instance: what it shows, and whose it takes from clients."""

    authority: Pair
    server: Pair
    clients: Pair


def front(google: Path, project: str, instance: str) -> Front:
    """The certificates of an instance, made when missing."""
    folder = google / "sql" / f"{project}_{instance}"
    authority = certificates.authority(folder / "server", "Google, Inc")
    # Not a host's name: clients compare the common name with the instance's.
    server = certificates.issue(authority, "server", f"{project}:{instance}", hosts=["instance.invalid"])
    return Front(authority, server, certificates.authority(folder / "clients", "Google, Inc"))


def place(google: Path, project: str, instance: str, region: str, address: str) -> None:
    """Make the API say where an instance is."""
    written = {"region": region, "address": address}
    write_atomically(_path(google, project, instance), json.dumps(written).encode())


def settings(google: Path, project: str, instance: str) -> Answer:
    """`connect.get`: the instance's address and its authority's certificate."""
    path = _path(google, project, instance)
    if not sql.is_known(google, project, instance) or not path.exists():
        return sql.no_instance()
    written = json.loads(path.read_text())
    certificate = front(google, project, instance).authority.certificate.read_text()
    return Answer(
        200,
        {
            "kind": "sql#connectSettings",
            "serverCaCert": {"kind": "sql#sslCert", "cert": certificate, "instance": instance},
            "ipAddresses": [{"type": "PRIMARY", "ipAddress": written["address"]}],
            "region": written["region"],
            "databaseVersion": VERSION,
            "backendType": "SECOND_GEN",
            "serverCaMode": "GOOGLE_MANAGED_INTERNAL_CA",
        },
    )


def ephemeral_certificate(google: Path, body: bytes, project: str, instance: str) -> Answer:
    """`connect.generateEphemeralCert`: a certificate for the public key in the request."""
    if not sql.is_known(google, project, instance):
        return sql.no_instance()
    try:
        public_key = str(json.loads(body)["public_key"])
        signed = _signed(front(google, project, instance).clients, public_key)
    except (ValueError, KeyError, TypeError):
        return error(400, "Invalid value for: public_key.")
    return Answer(200, {"ephemeralCert": {"kind": "sql#sslCert", "cert": signed, "instance": instance}})


def _signed(authority: Pair, public_key: str) -> str:
    """A client's certificate, PEM; a ValueError where `public_key` is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key = serialization.load_pem_public_key(public_key.encode())
    signer = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Google Cloud SQL client")]))
        .issuer_name(issuer.subject)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _path(google: Path, project: str, instance: str) -> Path:
    return google / "sql" / f"{project}_{instance}" / "place.json"
