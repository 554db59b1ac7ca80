"""Certificates of the sandbox: an authority per cluster, as GKE has, and one for the Google side."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib.files import write_atomically

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

VALID_FOR = datetime.timedelta(days=3650)
CLOCK_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def exists(self) -> bool:
        """Whether both files are there."""
        return self.certificate.exists() and self.key.exists()


def pair(folder: Path, name: str) -> Pair:
    """The two files of the certificate called `name` in `folder`."""
    return Pair(folder / f"{name}.crt", folder / f"{name}.key")


def authority(folder: Path, common_name: str) -> Pair:
    """The authority in `folder` (ca.crt, ca.key), made when missing."""
    files = pair(folder, "ca")
    if not files.exists:
        from cryptography import x509

        key = _new_key()
        builder = _builder(common_name, (), key, common_name).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_uses(authority=True), critical=True)
        _write(files, builder, key, key)
    return files


def issue(
    signer: Pair, name: str, common_name: str, organisations: Sequence[str] = (), hosts: Sequence[str] = ()
) -> Pair:
    """A certificate for a server or a client, made when missing, beside its authority.

    Args:
        signer: the authority.
        name: what the files are called.
        common_name: the subject; Kubernetes reads it as the user.
        organisations: Kubernetes reads them as groups.
        hosts: names and addresses that a server answers to.

    """
    files = pair(signer.certificate.parent, name)
    if files.exists:
        return files
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    parent = x509.load_pem_x509_certificate(signer.certificate.read_bytes())
    parent_key = load_pem_private_key(signer.key.read_bytes(), None)
    issuer = parent.subject.rfc4514_string().removeprefix("CN=")
    key = _new_key()
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = _builder(common_name, organisations, key, issuer)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_uses(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(parent_key.public_key())  # type: ignore[arg-type]
    builder = builder.add_extension(signed_by, critical=False)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
    _write(files, builder, key, parent_key)  # type: ignore[arg-type]
    return files


def signing_key(path: Path) -> Path:
    """A private key at `path`, made when missing: Kubernetes signs service account tokens with it."""
    if not path.exists():
        write_atomically(path, _pem(_new_key()))
    return path


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _builder(
    common_name: str, organisations: Sequence[str], key: "EllipticCurvePrivateKey", issuer: str
) -> "x509.CertificateBuilder":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organisations]
    subject = x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _uses(*, authority: bool) -> "x509.KeyUsage":
    """What a key is for; strict clients (Python 3.13's among them) ask for it."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _names(hosts: Sequence[str]) -> "list[x509.GeneralName]":
    from cryptography import x509

    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _write(
    files: Pair,
    builder: "x509.CertificateBuilder",
    key: "EllipticCurvePrivateKey",
    signing: "EllipticCurvePrivateKey",
) -> None:
    from cryptography.hazmat.primitives import hashes, serialization

    certificate = builder.sign(signing, hashes.SHA256())
    # The key first: a certificate without its key would look complete to nobody.
    write_atomically(files.key, _pem(key))
    write_atomically(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _pem(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        # The form that kube-apiserver reads keys of service account tokens in.
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
