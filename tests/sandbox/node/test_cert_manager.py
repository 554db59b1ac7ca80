"""What the sandbox says of issuers and certificates."""

import base64
from typing import Any

import pytest
from cryptography import x509

from sandbox.node.cert_manager import is_due, secret_of, status_of


def issuer(*observed: int, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True", "observedGeneration": number} for number in observed]
    return {"metadata": {"name": "acme", "generation": 2, **metadata}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("thing", "due"),
    [
        (issuer(), True),
        ({"metadata": {"generation": 1}}, True),
        (issuer(1), True),
        (issuer(2), False),
        (issuer(deletionTimestamp="now"), False),
    ],
    ids=["nothing said", "no status", "changed since", "said", "going"],
)
def test_each_state_is_dealt_with_once(thing: dict[str, Any], due: bool) -> None:
    assert is_due(thing) == due


@pytest.mark.parametrize(("annotations", "status"), [({}, "True"), ({"behave": "never-ready"}, "False")])
def test_it_becomes_ready_unless_told_otherwise(annotations: dict[str, str], status: str) -> None:
    thing = issuer(annotations={f"sandbox.lookit.org/{key}": value for key, value in annotations.items()})

    [said] = status_of(thing, "Ready", "now")["status"]["conditions"]

    assert (said["type"], said["status"], said["observedGeneration"]) == ("Ready", status, 2)


def test_a_certificate_s_secret_holds_a_certificate_for_its_host() -> None:
    secret = secret_of("cert", ["babieshelpingscience.com"])

    read = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["babieshelpingscience.com"]
    assert base64.b64decode(secret["data"]["tls.key"]).startswith(b"-----BEGIN ")
