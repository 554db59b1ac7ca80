"""Credentials: from the named file, else Application Default Credentials, else a clear word."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from tasks.lib.credentials import SCOPES, authorized_session, credentials
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.private_key import private_key

GOOGLE = checked_in_settings().google


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key.json"
    file.write_text(json.dumps({
        "type": "service_account", "client_email": "deployer@example.org", "token_uri": "http://127.0.0.1:9/token",
        "private_key": private_key("deployer"), "project_id": "p",
    }))  # fmt: skip
    return file


def test_the_file_that_settings_name_is_used(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file.with_name("absent")))

    found = credentials(replace(GOOGLE, credentials_file=str(key_file)))

    assert found.service_account_email == "deployer@example.org"  # type: ignore[attr-defined]
    assert found.scopes == SCOPES  # type: ignore[attr-defined]


def test_application_default_credentials_otherwise(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))

    session = authorized_session(GOOGLE)

    assert session.auth.credentials.service_account_email == "deployer@example.org"  # type: ignore[union-attr]


@pytest.mark.parametrize("named", [True, False], ids=["named in settings", "default"])
def test_unusable_credentials_say_how_to_log_in(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = str(tmp_path / "absent.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "" if named else absent)

    with pytest.raises(Failure, match="No credentials for Google Cloud were found") as caught:
        credentials(replace(GOOGLE, credentials_file=absent if named else ""))
    assert "absent.json" in caught.value.why
    assert "gcloud auth application-default login" in caught.value.next_step
