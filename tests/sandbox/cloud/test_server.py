"""Google's side: what it answers to whom, in Google's own shapes."""

import json
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from sandbox.cloud import accounts, gke, oauth, tokens
from sandbox.cloud.server import Handler, answer
from sandbox.kms.access import Access
from sandbox.kms.refusals import Refusal
from tasks.lib.google.credentials import SCOPES
from tests import google_side
from tests.serving import answering

CLUSTER = gke.KnownCluster("mit-lookit", "us-east1-d", "lookit-staging", "127.0.0.1:6443", "PEM", "1.36.3")
PATH = "/v1/projects/mit-lookit/locations/us-east1-d/clusters/lookit-staging"
EMAIL = "deployer@p.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("google")
    gke.register(folder, CLUSTER)
    accounts.create(folder, "deployer", "p", "http://nowhere/token", accounts.DEPLOYER_PERMISSIONS)
    accounts.create(folder, "nobody", "p", "http://nowhere/token", ())
    return folder


@pytest.fixture
def google(made: Path, tmp_path: Path) -> Path:
    """A copy of its own for each test: the accounts' keys take longer to make than any test does."""
    return shutil.copytree(made, tmp_path / "google")


@pytest.fixture
def served(google: Path) -> Iterator[str]:
    with google_side.served(google) as url:
        yield url


def bearer(google: Path, email: str = EMAIL, now: float | None = None) -> str:
    return f"Bearer {tokens.issue(google, email, now or time.time())}"


def credentials(google: Path, url: str, name: str = "deployer") -> Any:
    info = {**json.loads((google / f"{name}.json").read_text()), "token_uri": f"{url}/token"}
    return Credentials.from_service_account_info(info, scopes=SCOPES)


def test_a_cluster_is_described_as_the_rest_reference_says(google: Path) -> None:
    found = answer(google, "GET", PATH, bearer(google))

    assert found.status == 200
    assert found.body["endpoint"] == "127.0.0.1:6443"
    assert found.body["masterAuth"] == {"clusterCaCertificate": "UEVN"}
    assert found.body["status"] == "RUNNING"
    assert found.body["currentMasterVersion"] == "1.36.3-gke.1000"
    assert (
        found.body["controlPlaneEndpointsConfig"]["ipEndpointsConfig"]["publicEndpoint"] == "127.0.0.1:6443"
    )
    assert found.body["selfLink"].endswith("/v1/projects/mit-lookit/zones/us-east1-d/clusters/lookit-staging")


def test_end_of_support_of_a_cluster_is_a_year_away(google: Path) -> None:
    found = answer(google, "GET", f"{PATH}:fetchClusterUpgradeInfo", bearer(google))
    absent = answer(google, "GET", f"{PATH}x:fetchClusterUpgradeInfo", bearer(google))

    ends = datetime.fromisoformat(found.body["endOfStandardSupportTimestamp"])
    assert 363 <= (ends - datetime.now(UTC)).days <= 365
    assert absent.status == 404


@pytest.mark.parametrize(
    ("path", "caller", "status", "name", "message"),
    [
        (PATH, "", 401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        (PATH, "Bearer ya29.forged", 401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        (PATH, "nobody", 403, "PERMISSION_DENIED",
         'Required "container.clusters.get" permission(s) for '
         '"projects/mit-lookit/locations/us-east1-d/clusters/lookit-staging".'),
        (f"{PATH}x", "deployer", 404, "NOT_FOUND",
         "Not found: projects/mit-lookit/zones/us-east1-d/clusters/lookit-stagingx."),
        ("/v1/other", "deployer", 404, "NOT_FOUND", "The sandbox does not serve GET /v1/other."),
    ],
)  # fmt: skip
def test_a_call_is_refused(
    google: Path, path: str, caller: str, status: int, name: str, message: str
) -> None:
    authorization = bearer(google, f"{caller}@p.iam.gserviceaccount.com") if caller.isalpha() else caller

    found = answer(google, "GET", path, authorization)

    assert found.status == found.body["error"]["code"] == status
    assert found.body["error"]["status"] == name
    assert found.body["error"]["message"].startswith(message)


def test_an_expired_token_is_refused(google: Path) -> None:
    old = bearer(google, now=time.time() - tokens.LIFETIME - 1)

    assert answer(google, "GET", PATH, old).status == 401
    with pytest.raises(Refusal, match="invalid authentication credentials"):
        Access(google).caller(old)


def test_tokens_of_the_google_client_are_accepted(google: Path, served: str) -> None:
    found = credentials(google, served)
    found.refresh(Request())

    assert answer(google, "GET", PATH, f"Bearer {found.token}").status == 200
    review = oauth.review(google, {"spec": {"token": found.token}})
    assert review.body["status"]["user"]["username"] == EMAIL
    assert Access(google).caller(f"Bearer {found.token}") == EMAIL


def test_a_token_reaches_no_further_than_its_scopes(google: Path, served: str) -> None:
    found = credentials(google, served).with_scopes([tokens.EMAIL])
    found.refresh(Request())

    refused = answer(google, "GET", PATH, f"Bearer {found.token}")
    assert (refused.status, refused.body["error"]["message"]) == (
        403, "Request had insufficient authentication scopes."
    )  # fmt: skip
    with pytest.raises(Refusal, match="insufficient authentication scopes"):
        Access(google).caller(f"Bearer {found.token}")


def test_without_the_email_scope_accounts_are_numbers(google: Path, served: str) -> None:
    found = credentials(google, served).with_scopes([tokens.CLOUD_PLATFORM])
    found.refresh(Request())

    user = oauth.review(google, {"spec": {"token": found.token}}).body["status"]["user"]
    assert user["username"] == user["uid"] == json.loads((google / "deployer.json").read_text())["client_id"]
    assert user["username"].isdigit()


def test_an_assertion_that_asks_for_nothing_is_refused(google: Path, served: str) -> None:
    with pytest.raises(RefreshError, match="invalid_scope"):
        credentials(google, served).with_scopes([]).refresh(Request())


def test_an_assertion_of_another_key_is_refused_in_googles_words(google: Path, served: str) -> None:
    found = credentials(google, served)
    other = json.loads((google / "nobody.json").read_text())["private_key"]
    forged = found.__class__(RSASigner.from_string(other), EMAIL, f"{served}/token", scopes=["any"])

    with pytest.raises(RefreshError, match="Invalid JWT Signature"):
        forged.refresh(Request())


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": oauth.GRANT_TYPE, "assertion": "nonsense"}, "invalid_grant"),
        ({"grant_type": oauth.GRANT_TYPE, "assertion": "a.eyJpc3MiOiAid2hvIn0.b"}, "invalid_grant"),
    ],
)
def test_a_token_is_refused(google: Path, form: dict[str, str], error: str) -> None:
    found = oauth.token(google, form)

    assert (found.status, found.body["error"]) == (400, error)


def test_an_old_assertion_is_refused(google: Path) -> None:
    key = json.loads((google / "deployer.json").read_text())["private_key"]
    claims = {"iss": EMAIL, "iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
    assertion = jwt.encode(RSASigner.from_string(key), claims).decode()

    found = oauth.token(google, {"grant_type": oauth.GRANT_TYPE, "assertion": assertion})

    assert "short-lived token" in found.body["error_description"]


def test_a_review_does_not_know_a_forged_token(google: Path) -> None:
    assert oauth.review(google, {"spec": {"token": "ya29.forged"}}).body["status"] == {"authenticated": False}


def test_answers_are_sent_without_delay() -> None:
    at_once: list[int] = []

    class Watched(Handler):
        def handle(self) -> None:
            at_once.append(self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    with (
        answering(ThreadingHTTPServer(("127.0.0.1", 0), Watched)) as server,
        socket.create_connection(("127.0.0.1", server.server_port)) as connection,
    ):
        assert connection.recv(1) == b""

    assert at_once == [1]


def test_an_account_keeps_its_key(google: Path) -> None:
    before = json.loads((google / "deployer.json").read_text())["private_key"]

    path = accounts.create(google, "deployer", "p", "http://elsewhere/token", ())

    after = json.loads(path.read_text())
    assert after["private_key"] == before
    assert after["token_uri"] == "http://elsewhere/token"
    known = accounts.find(google, EMAIL)
    assert known
    assert known.permissions == frozenset()
