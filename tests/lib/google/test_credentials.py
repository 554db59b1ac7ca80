"""Credentials: from the named file, else Application Default Credentials, else a clear word."""

import datetime
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from google.auth import _exponential_backoff, compute_engine, jwt, transport
from google.auth.credentials import Credentials
from google.auth.exceptions import TransportError
from google.oauth2.credentials import Credentials as UserCredentials
from msgspec.structs import replace

from tasks.lib.errors import Failure
from tasks.lib.google import credentials as module
from tasks.lib.google.credentials import (
    PAUSE,
    SCOPES,
    Tokens,
    credentials,
    refresh,
    with_our_scopes,
)
from tasks.lib.google.sessions import authorized_session
from tests.builders import checked_in_settings
from tests.clock import Clock
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


def test_the_key_file_in_the_settings_is_used(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file.with_name("absent")))

    found = credentials(replace(GOOGLE, credentials_file=str(key_file)))

    assert found.service_account_email == "deployer@example.org"  # type: ignore[attr-defined]
    assert found.scopes == SCOPES  # type: ignore[attr-defined]


def test_key_is_checked_once_for_credentials_without_a_token(key_file: Path) -> None:
    google = replace(checked_in_settings().google, credentials_file=str(key_file))
    first: Any = credentials(google)
    first.token = "taken"

    second: Any = credentials(google)
    key_file.write_text(key_file.read_text().replace('"client_email": "', '"client_email": "other-'))
    other: Any = credentials(google)

    assert second.signer is first.signer
    assert second.token is None
    assert other.service_account_email.startswith("other-")


def test_application_default_credentials_are_the_default(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))

    session = authorized_session(GOOGLE)

    assert session.auth.tokens.credentials.service_account_email == "deployer@example.org"  # type: ignore[union-attr]


BOTH = {"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email"}
IMPERSONATE = "https://iam.example.org/v1/projects/-/serviceAccounts/deployer@example.org:generateAccessToken"
PERSON = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
FEDERATED: dict[str, Any] = {
    "type": "external_account", "audience": "//iam.example.org/pool", "token_url": "https://sts.example.org/v1/token",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", }  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """An answer as google-auth reads it."""

    status: int
    headers: dict[str, str]
    data: bytes


class Google(transport.Request):
    """Answers whoever asks for a token, and keeps which scopes were asked for last."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __call__(self, url: str, method: str = "GET", body: Any = None, **_: Any) -> Answer:  # type: ignore[override]
        text = body.decode() if isinstance(body, bytes) else body or ""
        if ":generateAccessToken" in url:
            self.asked = set(json.loads(text)["scope"])
            answer = {"accessToken": "a-token", "expireTime": "2099-01-01T00:00:00Z"}
            return Answer(200, {}, json.dumps(answer).encode())
        fields = parse_qs(text) or parse_qs(urlsplit(url).query)
        if "assertion" in fields:
            fields = {"scope": [jwt.decode(fields["assertion"][0], verify=False)["scope"]]}
        if named := fields.get("scope") or fields.get("scopes"):
            self.asked = set(named[0].replace(",", " ").split())
        content: dict[str, object] = {
            "access_token": "a-token",
            "expires_in": 3600,
            "token_type": "Bearer",
            "email": "a@example.org",
        }
        kind = {"content-type": "application/json"}
        return Answer(200, kind, json.dumps({**content, "issued_token_type": "t"}).encode())


@pytest.mark.parametrize(
    "content",
    [
        {
            "type": "service_account",
            "client_email": "deployer@example.org",
            "token_uri": "https://x.example.org",
        },
        {"type": "impersonated_service_account", "source_credentials": PERSON},
        {"type": "impersonated_service_account", "source_credentials": PERSON, "scopes": [SCOPES[0]]},
        FEDERATED,
        {**FEDERATED, "service_account_impersonation_url": IMPERSONATE},
    ],
    ids=[
        "key file",
        "impersonation",
        "impersonation with other scopes",
        "federation",
        "federation of an account",
    ],
)
def test_every_token_includes_the_account_email(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GKE knows a service account by its number otherwise, and roles are bound to addresses."""
    (tmp_path / "subject").write_text("from elsewhere")
    file = tmp_path / "credentials.json"
    kinds: dict[str, dict[str, Any]] = {
        "service_account": {"private_key": private_key("deployer")},
        "impersonated_service_account": {"service_account_impersonation_url": IMPERSONATE},
        "external_account": {"credential_source": {"file": str(tmp_path / "subject")}},
    }
    file.write_text(json.dumps({**content, **kinds[content["type"]]}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")  # else google-auth asks for the account's
    google = Google()

    credentials(GOOGLE).refresh(google)

    assert google.asked == BOTH


def test_the_metadata_server_is_asked_for_the_same_scopes() -> None:
    google = Google()

    with_our_scopes(compute_engine.Credentials()).refresh(google)

    assert google.asked == BOTH


def test_user_credentials_keep_their_scopes() -> None:
    found = UserCredentials("a-token")

    assert with_our_scopes(found) is found


@pytest.mark.parametrize("named", [True, False], ids=["named in settings", "default"])
@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "5",
        '{"type": "service_account", "client_email": "a", "token_uri": "b", "private_key": ["canary"]}',
        '{"type": "impersonated_service_account", "source_credentials": "canary"}',
    ],
)
def test_an_invalid_key_file_is_refused_without_its_content(
    named: bool, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key.json"
    file.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    google = replace(GOOGLE, credentials_file=str(file) if named else "")

    with pytest.raises(Failure, match="No credentials for Google Cloud were found") as caught:
        credentials(google)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("named", [True, False], ids=["named in settings", "default"])
def test_unusable_credentials_explain_how_to_log_in(
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


def test_a_valid_token_is_used_if_renewal_fails(key_file: Path, overloaded: str) -> None:
    for service in (NOBODY, overloaded):
        found = found_in(key_file, service, minutes=2)
        assert not found.valid

        assert Tokens(found)() == "a-token"


def test_a_failing_token_service_is_not_reported_as_refusal(key_file: Path, overloaded: str) -> None:
    for service in (NOBODY, overloaded):
        with pytest.raises(Failure, match="Google's token service does not answer"):
            refresh(found_in(key_file, service, minutes=-1))


class Hanging(Credentials):
    """Credentials whose token service gives no answer; it counts how often it was asked."""

    def __init__(self, minutes: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self.token, self.expiry = "a-token", now + datetime.timedelta(minutes=minutes)
        self.asked, self.end = 0, threading.Event()

    def refresh(self, request: object) -> None:
        self.asked += 1
        self.end.wait()
        raise TransportError("timed out")


class Counted:
    """A lock that says who came to it, those that still wait among them."""

    def __init__(self) -> None:
        self._lock, self.came = threading.Lock(), threading.Semaphore(0)

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> None:
        self.came.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("minutes", [-1, 2], ids=["without a token", "with one that is still good"])
def test_threads_that_wait_for_a_token_share_the_result(minutes: float) -> None:
    found, lock, threads = Hanging(minutes), Counted(), 5
    tokens = Tokens(found)
    tokens._lock = lock  # type: ignore[assignment]
    with ThreadPoolExecutor(threads) as pool:
        calls = [pool.submit(tokens) for _ in range(threads)]
        for _ in calls:
            lock.came.acquire()
        found.end.set()

    assert found.asked == 1
    if minutes > 0:
        assert [call.result() for call in calls] == ["a-token"] * threads
        return
    faults = [call.exception() for call in calls]
    assert {str(fault).partition("\n")[0] for fault in faults} == {"Google's token service does not answer."}
    assert len({id(fault) for fault in faults}) == threads
    with pytest.raises(Failure):
        tokens()
    assert found.asked == 2


def test_a_failing_token_service_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    found = Hanging(minutes=2)
    found.end.set()
    tokens = Tokens(found)

    assert [tokens() for _ in range(3)] == ["a-token"] * 3
    assert found.asked == 1
    clock.sleep(PAUSE)
    assert (tokens(), found.asked) == ("a-token", 2)
