"""What the guard refuses, and what it lets pass."""

import base64

import pytest

from tasks.lib.redaction import Secret
from tasks.lib.secrets.guard import Needle, Offence, needles, offences

NAMES = ("lookit-secrets.env", "googleAppCreds.json")
VALUE = b"correct-horse-battery"
KEY = b"-----BEGIN PRIVATE KEY-----\n" + b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 3
SECRETS = needles({"staging/lookit-secrets.env": Secret(b"DB_PASSWORD=" + VALUE + b"\nDEBUG=true\nBUCKET=lookit-staging\n")},
                  harmless=["lookit-staging"])  # fmt: skip
PLACE = "staging/lookit-secrets.env: DB_PASSWORD"


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        (
            "kubernetes/overlays/staging/secrets/lookit-secrets.env",
            b"",
            "is a decrypted secret file by its name",
        ),
        ("notes/googleAppCreds.json", b"{}", "is a decrypted secret file by its name"),
        ("secrets/lookit-secrets.env.enc", b"DB_PASSWORD=x", "is called .enc, but is no ciphertext"),
        ("secrets/lookit-secrets.env.enc", b"", "is called .enc, but is no ciphertext"),
        ("tests/key.pem", KEY, "holds a private key"),
        ("creds.txt", b'{"private_key": "' + KEY.replace(b"\n", b"\\n") + b'"}', "holds a private key"),
        ("notes.md", b"use " + VALUE + b" to log in", f"holds the secret value of {PLACE}"),
        ("secret.yaml", b"data:\n  P: " + base64.b64encode(VALUE), f"holds the secret value of {PLACE}"),
        ("secret.yaml", base64.b64encode(b"x=" + VALUE + b"\nmore"), f"holds the secret value of {PLACE}"),
        ("secret.yaml", base64.b64encode(b"xy=" + VALUE + b"!"), f"holds the secret value of {PLACE}"),
        ("secret.yaml", base64.b64encode(b"xyz=" + VALUE), f"holds the secret value of {PLACE}"),
    ],
)
def test_what_must_not_be_committed_is_named_with_the_reason(path: str, content: bytes, why: str) -> None:
    assert offences({path: content}, NAMES, SECRETS) == [Offence(path, why)]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("kubernetes/overlays/staging/secrets/lookit-secrets.env.enc", b"\x0a\x24\x00raw"),
        ("kubernetes/overlays/staging/secrets/lookit-secrets.env.enc", b"lookit-secret/1\nkey: x"),
        ("kubernetes/overlays/staging/secrets/lookit-secrets.env.expected", b"DB_PASSWORD=\n"),
        ("docs/secrets.md", b"begins with -----BEGIN PRIVATE KEY----- and so on"),
        ("settings.py", b"DEBUG = 'true'; BUCKET = 'lookit-staging'"),
    ],
)
def test_what_is_harmless_passes(path: str, content: bytes) -> None:
    assert offences({path: content}, NAMES, SECRETS) == []


def test_short_values_and_those_in_the_open_are_not_looked_for() -> None:
    assert {needle.place for needle in SECRETS} == {PLACE}


def test_a_needle_does_not_print() -> None:
    assert VALUE.decode() not in repr(Needle(PLACE, Secret(VALUE)))
