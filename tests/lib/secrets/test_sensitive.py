"""Which texts of secrets must not be shown."""

import base64
import json
from typing import Any

import pytest

from tasks.lib.redaction import Public, Redactor, Secret
from tasks.lib.secrets import sensitive
from tasks.lib.secrets.leak_check import needles
from tasks.lib.spellings import windows
from tests.builders import checked_in_settings
from tests.canary import in_base64

BODY = [f"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC{letter}" + "x" * 12 for letter in "abc"]
PEM = "\n".join(["-----BEGIN PRIVATE KEY-----", *BODY, "Zm9vYmFy==", "-----END PRIVATE KEY-----", ""])
CERTIFICATE = PEM.replace("PRIVATE KEY", "CERTIFICATE")
ACCOUNT = {
    "type": "service_account", "project_id": "lookit-project", "private_key_id": "0123456789abcdef01234567",
    "private_key": PEM, "client_email": "deployer@lookit-project.iam.gserviceaccount.com",
    "client_id": "112233445566778899001", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
    "universe_domain": "googleapis.com",
}  # fmt: skip
KNOWN = sensitive.public(checked_in_settings(), ["Deployment staging-web"])
SECRET_TEXTS = {PEM.strip(), *BODY, "Zm9vYmFy==", ACCOUNT["private_key_id"]}


def env(**pairs: str) -> dict[str, Secret]:
    return {
        "lookit-secrets.env": Secret("".join(f"{key}={value}\n" for key, value in pairs.items()).encode())
    }


def found(plaintexts: dict[str, Secret]) -> set[str]:
    return {text.strip() for text in sensitive.texts(plaintexts, KNOWN)}


def test_of_a_service_account_only_the_private_parts_are_secret() -> None:
    content = json.dumps(ACCOUNT, indent=2)
    assert found({"googleAppCreds.json": Secret(content.encode())}) == SECRET_TEXTS
    data = {"googleAppCreds.json": base64.b64encode(content.encode()).decode()}
    rendered = {"kind": "Secret", "data": data}
    assert {text.strip() for text in sensitive.in_objects([rendered], KNOWN)} == {*SECRET_TEXTS, content}


def test_logged_lines_of_a_key_are_redacted_in_every_form() -> None:
    redactor = sensitive.redactor({"googleAppCreds.json": Secret(json.dumps(ACCOUNT).encode())}, KNOWN)
    first_lines = "\n".join(PEM.splitlines()[:3])
    assert redactor.text(f"{PEM}\n{first_lines}") == "[redacted]\n\n-----BEGIN PRIVATE KEY-----\n[redacted]"
    # What is around every key is not masked in base64 either.
    encoded = base64.b64encode(PEM.encode()).decode()
    assert redactor.text(encoded).startswith("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0")
    assert not any(piece in redactor.text(encoded) for piece in windows(in_base64("\n".join(BODY), "xy")))
    assert json.loads(redactor.text(json.dumps(ACCOUNT))) == {
        **ACCOUNT, "private_key_id": "[redacted]", "private_key": "[redacted]\n",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("plaintexts", "texts"),
    [
        (env(DB_NAME="lookit", PIPE_ENVIRONMENT="staging", DB_USER="4Fq kx"), set()),
        (env(RABBITMQ_USER="administrator", SMTP_HOST="smtp.example.org", REDIS_URL="http://redis:6379"), set()),
        (env(DB_PASSWORD="lookit"), set()),
        (env(DB_PASSWORD="sunshine"), {"sunshine"}),
        (env(DB_PASSWORD='"quoted value"', KEY="'another value'"), {"quoted value", "another value"}),
        (env(HOOKS='{"a": [{"url": "https://h.example.org/T0"}], "mode": "plain"}'),
         {"https://h.example.org/T0", '{"a": [{"url": "https://h.example.org/T0"}], "mode": "plain"}'}),
        (env(KEY='{"mode": "plain"}'), set()),
        ({"a.env": Secret(b"KEY=-----BEGIN X-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw==\n")},
         {"-----BEGIN X-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw==", "=", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw"}),
        ({"cookie.txt": Secret(b"sunshine\n")}, {"sunshine"}),
        ({"my.cnf": Secret(b"[client]\nhost = db\npassword = s3cr3t-one\nuser: lookit\n")},
         {"[client]\nhost = db\npassword = s3cr3t-one\nuser: lookit", "[client]", "s3cr3t-one"}),
        ({"server.crt": Secret(CERTIFICATE.encode())}, set()),
    ],
    ids=["open keys", "words and hosts", "a public name", "a word for a password", "quotes", "JSON in an env file",
         "JSON without secrets", "a key that broke over lines", "a file of one word", "a file of settings", "a certificate"],
)  # fmt: skip
def test_what_is_secret_of_a_file(plaintexts: dict[str, Secret], texts: set[str]) -> None:
    assert found(plaintexts) == texts


@pytest.mark.parametrize(
    "secret",
    [
        {"data": {"password": "no base64 at all!"}},
        {"data": "a text", "stringData": None},
        {"stringData": {"pin": 47114711, "password": "x\x00yzabc"}},
        {"data": {"blob": base64.b64encode(bytes(range(256))).decode()}},
    ],
)
def test_malformed_secrets_are_no_error(secret: dict[str, Any]) -> None:
    Redactor(sensitive.in_objects([secret], Public()))


def test_the_namespace_that_a_token_names_is_not_secret() -> None:
    data = {
        name: base64.b64encode(value).decode()
        for name, value in (("namespace", b"team-7f3a9c2e"), ("token", b"abcdef"))
    }
    token = {"kind": "Secret", "type": "kubernetes.io/service-account-token", "data": data}
    assert list(sensitive.in_objects([token], Public())) == ["abcdef"]


def test_commits_and_logs_are_searched_for_the_same_texts() -> None:
    plaintexts = {
        **env(DB_PASSWORD="correct horse battery", DB_NAME="lookit"),
        "a.json": Secret(json.dumps(ACCOUNT).encode()),
    }
    searched = {needle.text.reveal().decode() for needle in needles(plaintexts, KNOWN)}
    assert {text for text in found(plaintexts) if len(text) >= 8} <= {text.strip() for text in searched}
    redactor = sensitive.redactor(plaintexts, KNOWN)
    assert all("[redacted]" in redactor.text(needle) for needle in searched)
