"""Dumps by the sandbox's Cloud SQL Admin API: what is asked, and what each refusal means."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.cloud import dumps, sql
from tasks.lib import retry
from tasks.lib.deploy.backup import exports, sql_admin
from tasks.lib.deploy.backup.exports import Export
from tasks.lib.deploy.backup.sql_admin import Refusal
from tasks.lib.deploy.events import Event, Notice
from tasks.lib.errors import Failure, TimedOut
from tests import google_side
from tests.builders import checked_in_settings
from tests.clock import Clock

STAGING = checked_in_settings().environment("staging")
ADDRESS = "gs://lookit-staging-private/exports/staging-20261130T020000Z.sql.gz"
RIGHTS = exports.PERMISSIONS
GRANT = (
    "gcloud storage buckets add-iam-policy-binding gs://lookit-staging-private "
    f"--member=serviceAccount:{sql.SERVICE_ACCOUNT} --role=roles/storage.objectUser"
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is in the only bucket."""
    found: dict[str, str] = {}

    def write(_google: Path, bucket: str, name: str, content: str) -> str:
        address = f"gs://{bucket}/{name}"
        if address in found:
            return f"The file {address} already exists."
        found[address] = content
        return ""

    monkeypatch.setattr(dumps, "has_bucket", lambda _, bucket: bucket == "lookit-staging-private")
    monkeypatch.setattr(dumps, "write", write)
    return found


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def google(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sql, "time", clock)
    monkeypatch.setattr(retry, "time", clock)
    sql.register(tmp_path, "mit-lookit", "staging")
    return tmp_path


@pytest.fixture
def export(google: Path, heard: list[Event], written: dict[str, str]) -> Iterator[Any]:
    """Exports as an account with these rights."""
    with google_side.served(google) as url:

        def made(rights: tuple[str, ...] = RIGHTS, **private: str) -> Export:
            from tasks.lib.google import sessions

            key = google_side.key_file(google, url, "exporter", rights)
            environments = {"staging": {"buckets": private}} if private else {}
            settings = checked_in_settings(
                google={"sql_admin": url, "credentials_file": key},
                time_limits={"backup": "60s"},
                environments=environments,
            )
            session: requests.Session = sessions.authorized_session(settings.google)
            return Export(settings, settings.environment("staging"), session, heard.append)

        yield made


def test_one_database_is_dumped_into_the_bucket(export: Any, written: dict[str, str]) -> None:
    assert export().write("lookit", ADDRESS) == ADDRESS

    assert written == {ADDRESS: "-- A dump of lookit\n"}


def test_an_export_that_is_there_is_not_replaced(export: Any, written: dict[str, str]) -> None:
    written[ADDRESS] = "as it was"

    with pytest.raises(Failure, match=f"to {ADDRESS} failed") as raised:
        export().write("lookit", ADDRESS)

    assert "already exists" in raised.value.why
    assert written == {ADDRESS: "as it was"}


def test_another_operation_is_waited_for(export: Any, google: Path, heard: list[Event]) -> None:
    sql.refuse(google, "mit-lookit", "staging", "busy")

    export().write("lookit", ADDRESS)

    assert heard[0] == Notice("mit-lookit:us-east1:staging is busy with another operation; waiting …")


def test_the_wait_for_another_operation_ends(export: Any, google: Path) -> None:
    sql.refuse(google, "mit-lookit", "staging", *["busy"] * 1000)

    with pytest.raises(TimedOut, match="did not begin within 60 s") as raised:
        export().write("lookit", ADDRESS)

    assert "another operation was already in progress" in raised.value.why
    assert "gcloud sql operations list --instance=staging" in raised.value.next_step


def test_the_instances_account_without_a_right_is_named(export: Any, google: Path) -> None:
    sql.refuse(google, "mit-lookit", "staging", "no-right-to-the-bucket")

    with pytest.raises(Failure, match="may not write to gs://lookit-staging-private: nothing was") as raised:
        export().write("lookit", ADDRESS)

    assert raised.value.next_step == GRANT


def test_an_account_that_cannot_be_asked_for_is_left_open(export: Any, google: Path) -> None:
    sql.refuse(google, "mit-lookit", "staging", "no-right-to-the-bucket")

    with pytest.raises(Failure) as raised:
        export(("cloudsql.instances.export",)).write("lookit", ADDRESS)

    assert "serviceAccount:ADDRESS" in raised.value.next_step
    assert "gcloud sql instances describe staging --project=mit-lookit" in raised.value.next_step


def test_a_bucket_that_is_not_there_is_named(export: Any) -> None:
    with pytest.raises(Failure, match="There is no bucket gs://nowhere: nothing was exported") as raised:
        export(private="nowhere").write("lookit", "gs://nowhere/exports/a.sql.gz")

    assert "environments.staging.buckets.private" in raised.value.next_step


def test_who_may_not_export_is_told_what_is_missing(export: Any) -> None:
    with pytest.raises(Failure, match="The credentials may not export mit-lookit:us-east1:staging") as raised:
        export(()).write("lookit", ADDRESS)

    assert 'Required "cloudsql.instances.export"' in raised.value.why
    assert "cloudsql.instances.export and cloudsql.instances.get" in raised.value.next_step


def test_a_failed_export_says_why(export: Any, google: Path) -> None:
    sql.fail(google, "mit-lookit", "staging", "disk full")

    with pytest.raises(Failure, match="failed") as raised:
        export().write("lookit", ADDRESS)

    assert "disk full" in raised.value.why
    assert "gcloud sql operations list" in raised.value.next_step


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Refusal(403, "", frozenset({"accessNotConfigured"})), "The Cloud SQL Admin API is not enabled"),
        (Refusal(401, ""), "Cloud SQL does not accept the credentials"),
        (Refusal(404, "The Cloud SQL instance does not exist."), "There is no Cloud SQL instance"),
        (Refusal(400, "not running"), "Cloud SQL answered 400"),
    ],
)
def test_each_refusal_has_a_meaning_and_a_fix(answer: Refusal, what: str) -> None:
    meaning, fix = exports.cause(STAGING, answer)

    assert meaning.startswith(what)
    assert "gcloud" in fix


def test_the_body_is_what_cloud_sql_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refused(_instance: object, resource: str, body: object) -> Refusal:
        asked.append((resource, json.loads(json.dumps(body))))
        return Refusal(404, "")

    monkeypatch.setattr(sql_admin.Instance, "start", refused)
    with pytest.raises(Failure):
        Export(checked_in_settings(), STAGING, requests.Session(), lambda _: None).write("lookit", ADDRESS)

    context = {"fileType": "SQL", "uri": ADDRESS, "databases": ["lookit"]}
    assert asked == [("export", {"exportContext": context})]
