"""A build's secrets: from a variable, else from Secret Manager with its checksum verified, or from Cloud KMS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.cloud import secret_manager
from sandbox.cloud.answers import Answer
from sandbox.cloud.server import Handler
from tasks.lib.errors import Failure
from tasks.lib.kms.client import connected
from tasks.lib.pipeline import secrets
from tasks.lib.pipeline.steps import Encrypted
from tasks.lib.redaction import Secret
from tests import google_side
from tests.builders import checked_in_settings
from tests.kms_process import DEPLOYER, KEY, KEY_OWNER, KmsProcess
from tests.secrets_settings import settings_for

LATEST = "projects/p/secrets/token/versions/latest"
NEXT = "Ask for roles/secretmanager.secretAccessor, or give the value yourself: S=… ./inv pipeline …"


@pytest.fixture
def google(tmp_path: Path) -> Path:
    secret_manager.register(tmp_path, "p", "token", Secret(b"v\xc3\xa4lue"))
    return tmp_path


@pytest.fixture
def url(google: Path) -> Iterator[str]:
    with google_side.served(google) as address:
        yield address


def read(
    google: Path, url: str, version: str = LATEST, *permissions: str, wanted: tuple[str, ...] = ("S",)
) -> dict[str, Secret]:
    file = google_side.key_file(google, url, "builder", permissions or ("secretmanager.versions.access",))
    settings = checked_in_settings(google={"credentials_file": file, "secret_manager": url})
    return secrets.values(settings, {"S": version, "T": version}, wanted)


def test_a_value_comes_from_secret_manager(google: Path, url: str) -> None:
    assert read(google, url)["S"].reveal() == "välue".encode()


def test_a_variable_of_that_name_wins(google: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "mine")

    found = read(google, url, wanted=("T", "S", "S"))

    assert {name: value.reveal() for name, value in found.items()} == {"S": b"mine", "T": "välue".encode()}


def test_only_what_a_step_wants_is_fetched(google: Path, url: str) -> None:
    assert read(google, url, "projects/p/secrets/no-such/versions/1", wanted=()) == {}


@pytest.mark.parametrize(
    ("version", "permission", "why"),
    [
        (LATEST, "none", 'Secret Manager answered 403: Required "secretmanager.versions.access" permission(s) for '
         '"projects/p/secrets/token/versions/latest:access".'),
        ("projects/p/secrets/other/versions/1", "secretmanager.versions.access",
         "Secret Manager answered 404: Secret [projects/p/secrets/other] not found or has no versions."),
    ],
)  # fmt: skip
def test_a_refusal_says_whose_and_how_to_go_on(
    google: Path, url: str, version: str, permission: str, why: str
) -> None:
    with pytest.raises(Failure) as caught:
        read(google, url, version, permission)

    failure = caught.value
    assert failure.what == f"The secret {version} for S cannot be read."
    assert (failure.why, failure.next_step) == (why, NEXT)


def test_a_value_that_arrived_damaged_is_refused(
    google: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = secret_manager.access(google, "p", "token", "1")
    body: dict[str, Any] = json.loads(json.dumps(sound.body))
    body["payload"]["dataCrc32c"] = "1"
    monkeypatch.setattr(Handler, "do_GET", lambda self: self._send(Answer(200, body)))

    with pytest.raises(Failure, match="cannot be read") as caught:
        read(google, url)

    assert caught.value.why == "its checksum does not match its value"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({}, f"The secret {LATEST} for S cannot be read."),
        ([], "Secret Manager did not answer; something else"),
    ],
)
def test_an_answer_without_a_value_is_refused(
    google: Path, url: str, monkeypatch: pytest.MonkeyPatch, body: Any, what: str
) -> None:
    monkeypatch.setattr(Handler, "do_GET", lambda self: self._send(Answer(200, body)))

    with pytest.raises(Failure) as caught:
        read(google, url)

    assert caught.value.what.startswith(what)


def test_what_stands_encrypted_in_the_file_is_decrypted(kms: KmsProcess, tmp_path: Path) -> None:
    with connected(settings_for(kms, tmp_path, KEY_OWNER)) as owner:
        sealed = owner.encrypt(KEY, Secret(b"hush"))
    sources = {"S": Encrypted(KEY, sealed), "T": Encrypted(KEY, b"not asked for")}

    found = secrets.values(settings_for(kms, tmp_path), sources, ["S"])

    assert {name: value.reveal() for name, value in found.items()} == {"S": b"hush"}


def test_missing_permission_for_inline_secrets_is_reported(kms: KmsProcess, tmp_path: Path) -> None:
    kms.grant(DEPLOYER)

    with pytest.raises(Failure, match="may not decrypt"):
        secrets.values(settings_for(kms, tmp_path), {"S": Encrypted(KEY, b"x" * 40)}, ["S"])


def test_a_service_that_is_away_is_named(google: Path) -> None:
    with google_side.served(google) as gone:
        file = google_side.key_file(google, gone, "builder", ("secretmanager.versions.access",))
    settings = checked_in_settings(google={"credentials_file": file, "secret_manager": gone})

    with pytest.raises(Failure, match=f"The secret {LATEST} for S cannot be read") as caught:
        secrets.values(settings, {"S": LATEST}, ["S"])

    assert "Connection refused" in caught.value.why
