"""The certificates that an environment's Ingresses use, and how long each is valid."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.lib.cluster.api import Json


@dataclass(frozen=True)
class Certificate:
    """A TLS Secret that an Ingress uses."""

    secret: str
    hosts: Sequence[str]
    until: datetime | None = None
    days: int | None = None  # full days left; None where it cannot be read
    problem: str = ""


def certificates(ingresses: Iterable[Json], secrets: Iterable[Json], at: datetime) -> list[Certificate]:
    """Each Secret that Ingresses name for TLS, once, with the days that its certificate has left."""
    by_name = {secret["metadata"]["name"]: secret for secret in secrets}
    hosts: dict[str, set[str]] = {}
    for ingress in ingresses:
        for tls in (ingress.get("spec") or {}).get("tls") or []:
            if name := tls.get("secretName"):
                hosts.setdefault(name, set()).update(tls.get("hosts") or [])
    return [_certificate(name, sorted(of), by_name.get(name), at) for name, of in sorted(hosts.items())]


def _certificate(name: str, hosts: Sequence[str], secret: Json | None, at: datetime) -> Certificate:
    if secret is None:
        return Certificate(name, hosts, problem=f"there is no Secret {name}")
    try:
        until = not_after(base64.b64decode((secret.get("data") or {}).get("tls.crt") or ""))
    except (ValueError, binascii.Error):
        return Certificate(name, hosts, problem="its tls.crt is no certificate")
    return Certificate(name, hosts, until, (until - at).days)


def not_after(pem: bytes) -> datetime:
    """When the first certificate of a chain ends.

    Raises:
        ValueError: there is none.

    """
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem).not_valid_after_utc
