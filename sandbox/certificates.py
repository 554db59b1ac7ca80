"""Certificates of the sandbox: an authority per cluster, as GKE has, and one for the Google side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib.files import write_atomically

if TYPE_CHECKING:
    from trustme import Blob


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


def authority(folder: Path, name: str) -> Pair:
    """The authority in `folder` (ca.crt, ca.key), created when missing."""
    files = pair(folder, "ca")
    if not files.exists:
        from trustme import CA

        made = CA(organization_name=name)
        _write(files, made.cert_pem, made.private_key_pem)
    return files


def issue(signer: Pair, name: str, user: str, group: str = "", hosts: Sequence[str] = ()) -> Pair:
    """A certificate for a server (which answers to `hosts`) or a client, created when missing.

    Its files are called `name` and lie beside the authority's.  Kubernetes reads the common name as the user
    and the organization as a group.
    """
    files = pair(signer.certificate.parent, name)
    if not files.exists:
        from trustme import CA

        ca = CA.from_pem(signer.certificate.read_bytes(), signer.key.read_bytes())
        # Go refuses a certificate without any name.
        made = ca.issue_cert(*hosts or [user], common_name=user, organization_name=group or None)
        _write(files, made.cert_chain_pems[0], made.private_key_pem)
    return files


def signing_key(path: Path) -> Path:
    """A private key at `path`, created when missing: Kubernetes signs service account tokens with it."""
    if not path.exists():
        from trustme import CA

        write_atomically(path, CA().private_key_pem.bytes())
    return path


def _write(files: Pair, certificate: "Blob", key: "Blob") -> None:
    # The key first: a certificate without its key would look complete.
    write_atomically(files.key, key.bytes())
    write_atomically(files.certificate, certificate.bytes())
