"""The Cloud SQL Admin API of the sandbox: what a backup looks like from the request to its end."""

import datetime
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sandbox.cloud import sql, sql_connect, tokens
from sandbox.cloud.answers import Answer
from sandbox.cloud.server import answer
from tests import google_side
from tests.clock import Clock
from tests.private_key import private_key

PROJECT, INSTANCE = "mit-lookit", "staging"
PATH = f"/v1/projects/{PROJECT}/instances/{INSTANCE}/backupRuns"
BEGAN = 1_700_000_000.0
RUN = {"id": "17", "operation": "op-1", "began": BEGAN, "description": "before 4c1e", "fail": ""}
FAILING = {**RUN, "fail": "disk full"}
NO_INSTANCE = "The Cloud SQL instance does not exist."


@pytest.fixture
def google(tmp_path: Path) -> Path:
    sql.register(tmp_path, PROJECT, INSTANCE)
    return tmp_path


def insert(google: Path, body: bytes = b"") -> dict[str, Any]:
    return dict(sql.insert(google, body, PROJECT, INSTANCE).body)


def end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every backup be over at once."""
    monkeypatch.setattr(sql, "SECONDS", 0.0)


@pytest.mark.parametrize(
    ("age", "status", "stamps"),
    [
        (0.0, "PENDING", {}),
        (0.25, "RUNNING", {"startTime": "2023-11-14T22:13:20.250Z"}),
        (1.0, "DONE", {"startTime": "2023-11-14T22:13:20.250Z", "endTime": "2023-11-14T22:13:21.000Z"}),
    ],
)
def test_an_operation_is_told_by_its_age(age: float, status: str, stamps: dict[str, str]) -> None:
    found = sql.operation(PROJECT, INSTANCE, RUN, BEGAN + age)

    assert (found["status"], found["insertTime"]) == (status, "2023-11-14T22:13:20.000Z")
    assert {key: found[key] for key in ("startTime", "endTime", "error") if key in found} == stamps
    assert found["backupContext"] == {"kind": "sql#backupContext", "backupId": "17"}


def test_a_new_backup_is_pending(google: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "time", clock)
    monkeypatch.setattr(sql, "write_atomically", lambda *_: clock.sleep(10))

    assert insert(google)["status"] == "PENDING"


def test_a_failed_operation_has_its_error_when_done() -> None:
    assert "error" not in sql.operation(PROJECT, INSTANCE, FAILING, BEGAN + 0.5)
    assert sql.operation(PROJECT, INSTANCE, FAILING, BEGAN + 1)["error"] == {
        "kind": "sql#operationErrors",
        "errors": [{"kind": "sql#operationError", "code": "INTERNAL_ERROR", "message": "disk full"}],
    }


@pytest.mark.parametrize(
    ("run", "age", "status", "error"),
    [
        (RUN, 0.0, "ENQUEUED", None),
        (RUN, 0.25, "RUNNING", None),
        (RUN, 1.0, "SUCCESSFUL", None),
        (FAILING, 0.25, "RUNNING", None),
        (FAILING, 1.0, "FAILED", "disk full"),
    ],
)
def test_a_backup_run_is_told_by_its_age(
    run: dict[str, Any], age: float, status: str, error: str | None
) -> None:
    found = sql.backup_run(PROJECT, INSTANCE, run, BEGAN + age)

    assert (found["status"], found["type"], found["description"]) == (status, "ON_DEMAND", "before 4c1e")
    assert found.get("error", {}).get("message") == error
    assert ("endTime" in found) == (age >= 1)


def test_a_backup_is_in_its_operation_and_the_list(google: Path) -> None:
    sql.register(google, PROJECT, "another")
    begun = insert(google, b'{"description": "by hand"}')

    assert begun["status"] == "PENDING"
    assert sql.get_operation(google, PROJECT, begun["name"]).body["targetId"] == INSTANCE
    (found,) = sql.list_runs(google, PROJECT, INSTANCE).body["items"]
    assert (found["id"], found["description"]) == (begun["backupContext"]["backupId"], "by hand")


def test_the_newest_backup_is_listed_first(google: Path) -> None:
    for name in ("first", "second"):
        insert(google, f'{{"description": "{name}"}}'.encode())

    listed = sql.list_runs(google, PROJECT, INSTANCE).body
    assert listed["kind"] == "sql#backupRunsList"
    assert [one["description"] for one in listed["items"]] == ["second", "first"]


def test_an_instance_fails_its_backups_until_it_is_told_otherwise(
    google: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(monkeypatch)
    sql.fail(google, PROJECT, INSTANCE, "disk full")
    failed = insert(google)
    sql.fail(google, PROJECT, INSTANCE, "")

    assert failed["error"]["errors"][0]["message"] == "disk full"
    assert "error" not in insert(google)


def test_a_restore_takes_as_long_as_it_is_told_to(google: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end(monkeypatch)
    backup = insert(google)["backupContext"]["backupId"]
    wanted = json.dumps({"restoreBackupContext": {"backupRunId": backup}}).encode()
    assert dict(sql.restore(google, wanted, PROJECT, INSTANCE).body)["status"] == "DONE"

    sql.slow_down(google, PROJECT, INSTANCE, 600)

    assert dict(sql.restore(google, wanted, PROJECT, INSTANCE).body)["status"] == "RUNNING"


def test_an_instance_that_is_registered_again_keeps_its_backups(google: Path) -> None:
    insert(google)
    sql.register(google, PROJECT, INSTANCE)

    assert len(sql.list_runs(google, PROJECT, INSTANCE).body["items"]) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"no JSON", b"{}"])
def test_a_backup_needs_no_description(google: Path, body: bytes) -> None:
    insert(google, body)

    assert sql.list_runs(google, PROJECT, INSTANCE).body["items"][0]["description"] == ""


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda google: sql.insert(google, b"", PROJECT, "none"), NO_INSTANCE),
        (lambda google: sql.list_runs(google, PROJECT, "none"), NO_INSTANCE),
        (
            lambda google: sql.get_operation(google, PROJECT, "op"),
            "The Cloud SQL operation does not exist.",
        ),
    ],
    ids=["insert", "list", "get no such operation"],
)
def test_what_is_not_there_is_not_found(google: Path, found: Any, message: str) -> None:
    insert(google)

    assert found(google) == Answer(404, {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}})


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("DELETE", PATH, "Method DELETE is not served here."),
        ("POST", f"/v1/projects/{PROJECT}/operations/17", "Method POST is not served here."),
    ],
)
def test_an_unknown_method_is_reported_before_permissions(
    google: Path, method: str, path: str, message: str
) -> None:
    assert answer(google, method, path, "").body["error"] == {
        "code": 405, "message": message, "status": "UNIMPLEMENTED"
    }  # fmt: skip


def test_each_method_of_a_path_asks_for_its_own_permission(google: Path) -> None:
    google_side.account(google, "reader", "http://nowhere/token", ["cloudsql.backupRuns.list"])
    token = tokens.issue(google, "reader@p.iam.gserviceaccount.com", 4e9)
    bearer = f"Bearer {token}"

    assert answer(google, "GET", PATH, bearer).body == {"kind": "sql#backupRunsList", "items": []}
    assert answer(google, "POST", PATH, bearer, b"{}").body["error"]["message"] == (
        f'Required "cloudsql.backupRuns.create" permission(s) for "{PATH.removeprefix("/v1/")}".'
    )


CONNECT = f"/sql/v1beta4/projects/{PROJECT}/instances/{INSTANCE}"


def as_client(
    google: Path, method: str, path: str, body: bytes = b"", scope: str = "sqlservice.admin"
) -> Answer:
    """The answer to the account of a proxy, whose token has one scope."""
    rights = ["cloudsql.instances.connect", "cloudsql.instances.get"]
    google_side.account(google, "client", "http://nowhere/token", rights)
    scopes = [f"https://www.googleapis.com/auth/{scope}"]
    token = tokens.issue(google, "client@p.iam.gserviceaccount.com", time.time(), scopes)
    return answer(google, method, path, f"Bearer {token}", body)


def public_key() -> bytes:
    private = serialization.load_pem_private_key(private_key("client").encode(), None)
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return json.dumps({"public_key": pem.decode()}).encode()


def test_a_proxy_is_told_where_the_instance_is(google: Path) -> None:
    sql_connect.place(google, PROJECT, INSTANCE, "us-east1", "198.18.0.5")

    found = as_client(google, "GET", f"{CONNECT}/connectSettings")

    assert found.status == 200
    assert found.body["ipAddresses"] == [{"type": "PRIMARY", "ipAddress": "198.18.0.5"}]
    assert (found.body["region"], found.body["backendType"]) == ("us-east1", "SECOND_GEN")
    assert found.body["serverCaCert"]["cert"].startswith("-----BEGIN CERTIFICATE-----")


def test_a_proxy_gets_a_certificate_for_an_hour(google: Path) -> None:
    found = as_client(google, "POST", f"{CONNECT}:generateEphemeralCert", public_key())

    made = x509.load_pem_x509_certificate(found.body["ephemeralCert"]["cert"].encode())
    authority = sql_connect.front(google, PROJECT, INSTANCE).clients.certificate.read_bytes()
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    left = made.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=59) < left <= datetime.timedelta(hours=1)


def test_what_is_no_key_gets_no_certificate(google: Path) -> None:
    found = as_client(google, "POST", f"{CONNECT}:generateEphemeralCert", b'{"public_key": "nothing"}')

    assert (found.status, found.body["error"]["message"]) == (400, "Invalid value for: public_key.")


def test_an_instance_without_a_real_node_cannot_be_reached(google: Path) -> None:
    assert as_client(google, "GET", f"{CONNECT}/connectSettings").body["error"]["message"] == NO_INSTANCE


def test_a_token_for_storage_does_not_reach_the_database(google: Path) -> None:
    found = as_client(google, "GET", f"{CONNECT}/connectSettings", scope="devstorage.read_write")

    assert found.status == 403
