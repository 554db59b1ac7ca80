"""Certificates that strict clients accept."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from sandbox import certificates


def shake_hands(folder: Path, host: str, name: str = "server") -> str:
    """Connect to a server with the folder's certificate, trusting its authority alone; returns the protocol."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    client_side = ssl.create_default_context(cafile=folder / "ca.crt")
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server_side.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_side.wrap_socket(ours, server_hostname=host) as connection:
            return str(connection.version())
    finally:
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_is_trusted_by_its_names(tmp_path: Path, host: str) -> None:
    authority = certificates.authority(tmp_path, "cluster")
    certificates.issue(authority, "server", "kube-apiserver", hosts=["127.0.0.1", "localhost"])

    assert shake_hands(tmp_path, host) == "TLSv1.3"


def test_a_server_is_not_trusted_by_another_name(tmp_path: Path) -> None:
    authority = certificates.authority(tmp_path, "cluster")
    certificates.issue(authority, "server", "kube-apiserver", hosts=["127.0.0.1"])

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, "elsewhere")


def test_what_exists_is_kept(tmp_path: Path) -> None:
    first = certificates.authority(tmp_path, "cluster")
    server = certificates.issue(first, "server", "kube-apiserver", hosts=["localhost"])
    key = certificates.signing_key(tmp_path / "sa.key")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    assert certificates.authority(tmp_path, "cluster") == first
    assert certificates.issue(first, "server", "kube-apiserver", hosts=["elsewhere"]) == server
    assert certificates.signing_key(tmp_path / "sa.key") == key
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(before) == 5


def test_client_certificates_name_user_and_groups_only(tmp_path: Path) -> None:
    authority = certificates.authority(tmp_path, "cluster")
    client = certificates.issue(authority, "admin", "sandbox-admin", "system:masters")

    found = x509.load_pem_x509_certificate(client.certificate.read_bytes())

    subject = {name.oid: name.value for name in found.subject}
    assert subject[NameOID.COMMON_NAME] == "sandbox-admin"
    assert subject[NameOID.ORGANIZATION_NAME] == "system:masters"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, "localhost", "admin")


def test_keys_are_private(tmp_path: Path) -> None:
    key = certificates.signing_key(tmp_path / "sa.key")

    assert key.stat().st_mode & 0o777 == 0o600
    assert certificates.authority(tmp_path, "cluster").key.stat().st_mode & 0o777 == 0o600
