"""Credentials: from the named file, else Application Default Credentials, else a clear word."""

import datetime
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.auth import _exponential_backoff
from msgspec.structs import replace

from tasks.lib.cluster.connection import Tokens
from tasks.lib.credentials import SCOPES, authorized_session, credentials, refresh
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.private_key import private_key
from tests.serving import answering

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


class Overloaded(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def overloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A token service that answers 503; google-auth's pauses between its attempts are left out."""
    monkeypatch.setattr(_exponential_backoff, "time", SimpleNamespace(sleep=lambda _: None))
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Overloaded)) as server:
        yield f"http://127.0.0.1:{server.server_port}/token"


def found_in(key_file: Path, service: str, minutes: float) -> Any:
    """Credentials whose token ends in so many minutes."""
    key_file.write_text(json.dumps({**json.loads(key_file.read_text()), "token_uri": service}))
    found: Any = credentials(replace(GOOGLE, credentials_file=str(key_file)))
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    found.token, found.expiry = "a-token", now + datetime.timedelta(minutes=minutes)
    return found


NOBODY = "http://127.0.0.1:9/token"


def test_a_token_that_is_good_for_a_while_serves_where_no_new_one_comes(
    key_file: Path, overloaded: str
) -> None:
    for service in (NOBODY, overloaded):
        found = found_in(key_file, service, minutes=2)
        assert not found.valid

        assert Tokens(found)() == "a-token"


def test_a_token_service_in_trouble_is_not_called_a_refusal(key_file: Path, overloaded: str) -> None:
    for service in (NOBODY, overloaded):
        with pytest.raises(Failure, match="Google's token service does not answer"):
            refresh(found_in(key_file, service, minutes=-1))
