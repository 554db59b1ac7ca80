"""What may not be committed, and what passes."""

import base64

import pytest

from tasks.lib.redaction import Public, Secret
from tasks.lib.secrets import leak_check
from tasks.lib.secrets.expected import expected_keys
from tasks.lib.secrets.files import secret_files
from tasks.lib.secrets.leak_check import Leak, Needle, leaks, needles, strays
from tasks.lib.secrets.sensitive import public
from tests.builders import checked_in_settings

NAMES = ("lookit-secrets.env", "googleAppCreds.json")
VALUE = b"correct-horse-battery"
KEY = b"-----BEGIN PRIVATE KEY-----\n" + b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 3
SECRETS = needles({"staging/lookit-secrets.env": Secret(b"DB_PASSWORD=" + VALUE + b"\nDEBUG=true\nBUCKET=lookit-staging\n")},
                  Public(names="lookit-staging"))  # fmt: skip
PLACES = ["kubernetes/overlays/staging/secrets/lookit-secrets.env.enc"]
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
        ("lookit-secrets.env.bak", b"", "is a decrypted secret file by its name"),
        ("secrets/.lookit-secrets.env.swp", b"", "is a decrypted secret file by its name"),
        ("secrets/.#lookit-secrets.env", b"", "is a decrypted secret file by its name"),
        ("secrets/lookit-secrets.env~", b"", "is a decrypted secret file by its name"),
        ("secrets/lookit-secrets.env.enc", b"\nDB_PASSWORD=x", "holds plaintext, not ciphertext"),
        ("secrets/lookit-secrets.env.enc", b"DB_PASSWORD=x", "holds plaintext, not ciphertext"),
        ("secrets/lookit-secrets.env.enc", b"", "is called .enc, but is not a ciphertext"),
        ("tests/key.pem", KEY, "holds a private key"),
        ("creds.txt", b'{"private_key": "' + KEY.replace(b"\n", b"\\n") + b'"}', "holds a private key"),
        ("notes.md", b"use " + VALUE + b" to log in", f"holds the secret value of {PLACE}"),
        ("secret.yaml", b"data:\n  P: " + base64.b64encode(VALUE), f"holds the secret value of {PLACE}"),
        (
            "wrapped",
            b"\n  ".join(base64.b64encode(VALUE)[i : i + 5] for i in range(0, 28, 5)),
            f"holds the secret value of {PLACE}",
        ),
        (
            "backup/lookit-secrets.env.enc",
            b"lookit-secret/1\nkey: x",
            "is an encrypted secret file outside its place, where no rotation would reach it",
        ),
        ("secret.yaml", base64.b64encode(b"x=" + VALUE + b"\nmore"), f"holds the secret value of {PLACE}"),
        ("secret.yaml", base64.b64encode(b"xy=" + VALUE + b"!"), f"holds the secret value of {PLACE}"),
        ("secret.yaml", base64.b64encode(b"xyz=" + VALUE), f"holds the secret value of {PLACE}"),
    ],
)
def test_what_must_not_be_committed_is_named_with_the_reason(path: str, content: bytes, why: str) -> None:
    assert leaks({path: content}, NAMES, PLACES, SECRETS) == [Leak(path, why)]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("kubernetes/overlays/staging/secrets/lookit-secrets.env.enc", b"\x0a\x24\x00raw"),
        ("kubernetes/overlays/staging/secrets/lookit-secrets.env.enc", b"lookit-secret/1\nkey: x"),
        ("kubernetes/overlays/staging/secrets/lookit-secrets.env.expected", b"DB_PASSWORD=\n"),
        ("kubernetes/overlays/staging/secrets/my-lookit-secrets.environment", b"\n"),
        ("docs/secrets.md", b"begins with -----BEGIN PRIVATE KEY----- and so on"),
        ("settings.py", b"DEBUG = 'true'; BUCKET = 'lookit-staging'"),
    ],
)
def test_what_is_harmless_passes(path: str, content: bytes) -> None:
    assert leaks({path: content}, NAMES, PLACES, SECRETS) == []


def test_short_and_open_values_are_not_searched() -> None:
    assert {needle.place for needle in SECRETS} == {PLACE}


def test_only_private_parts_of_a_key_file_are_secret() -> None:
    """What every such file holds stands in every program that reads one."""
    account = (
        b'{"type": "service_account", "project_id": "lookit-project", "private_key_id": "0123456789abcdef",'
        b' "private_key": "-----BEGIN x", "auth_uri": "https://accounts.google.com/o/oauth2/auth"}'
    )
    found = needles({"staging/a.json": Secret(account)}, public(checked_in_settings()))
    assert {needle.place for needle in found} == {
        "staging/a.json: private_key_id",
        "staging/a.json: private_key",
    }


NESTED = b'{"mode": "plain", "hooks": [{"url": "https://hooks.example.org/T0\\u00e9\\nsecond"}], "open": {"DB_HOST": "db.internal.example.org"}}'


@pytest.mark.parametrize(
    "content",
    [
        "curl https://hooks.example.org/T0é\nsecond",
        r'{"url":"https://hooks.example.org/T0é\nsecond"}',
        r'{"url":"https://hooks.example.org/T0\u00e9\nsecond"}',
        base64.b64encode("https://hooks.example.org/T0é\nsecond".encode()).decode(),
    ],
    ids=["as it is", "in JSON", "in ASCII's JSON", "in base64"],
)
@pytest.mark.parametrize(
    ("name", "plaintext"),
    [("a.env", b"HOOKS=" + NESTED), ("a.json", b'{"HOOKS": ' + NESTED + b"}")],
    ids=["env", "json"],
)
def test_a_text_within_json_is_found_by_itself(name: str, plaintext: bytes, content: str) -> None:
    found = needles({f"staging/{name}": Secret(plaintext)}, Public(frozenset({"DB_HOST"})))

    assert leaks({"notes": content.encode()}, (), (), found) == [
        Leak("notes", f"holds the secret value of staging/{name}: HOOKS")
    ]
    assert leaks({"notes": b"plain db.internal.example.org"}, (), (), found) == []


def test_every_open_key_belongs_to_a_secret_file() -> None:
    """A name that no file has any more would be open for whatever comes to be called so."""
    settings = checked_in_settings()
    listed = [
        key
        for environment in settings.environments.values()
        for file in secret_files(settings, environment)
        for key in expected_keys(file) or ()
    ]
    assert set(settings.guard.open_keys) - set(listed) == {"universe_domain"}


def test_only_misplaced_raw_ciphertexts_are_decrypted() -> None:
    contents = {PLACES[0]: b"\x0a\x24\x00a", "notes": b"\x0a\x24\x00a", "text": b"\n$", "more": b"\nx"}
    assert set(strays(contents, PLACES)) == {"notes", "text"}


def test_a_needle_does_not_print() -> None:
    assert VALUE.decode() not in repr(Needle(PLACE, Secret(VALUE)))


def test_a_password_that_equals_a_setting_may_not_be_committed() -> None:
    """Logs may show it, since everybody knows it; a commit may not make it known."""
    settings = checked_in_settings(image={"default_tag": "horse-battery"})
    assert public(settings).covers("DB_PASSWORD", "horse-battery")
    assert not leak_check.public(settings).covers("DB_PASSWORD", "horse-battery")
    assert leak_check.public(settings).covers("", settings.environment("staging").buckets.archives)
    assert leak_check.public(settings).covers("DB_NAME", "k3xq9fz2m")
