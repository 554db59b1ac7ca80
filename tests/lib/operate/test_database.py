"""Backups and restores between deploys: what is asked, said and refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.lib.deploy.backup.cloud_sql import Run
from tasks.lib.errors import Failure, UsageError
from tasks.lib.operate import backups, database, export, login
from tasks.lib.operate.database import Loss
from tasks.lib.redaction import Secret
from tasks.lib.secrets import crypt
from tests.builders import checked_in_settings

SETTINGS = checked_in_settings()
STAGING = SETTINGS.environment("staging")
MONDAY = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)


def run(number: str = "1", status: str = "SUCCESSFUL") -> Run:
    return Run(number, MONDAY, status, "ON_DEMAND", "before the import")


def loss(hours: float = 5.5) -> Loss:
    stopped = ["Deployment staging-web", "StatefulSet staging-builder"]
    return Loss("mit-lookit:us-east1:staging", run(), MONDAY + timedelta(hours=hours), stopped)


def test_the_loss_is_told_in_hours() -> None:
    assert str(loss()) == (
        "This replaces all data of mit-lookit:us-east1:staging by backup 1 of 2026-11-30 02:00 UTC.\n"
        "Everything that was entered in the 5 h 30 min since then is lost. "
        "Meanwhile these are stopped: Deployment staging-web, StatefulSet staging-builder."
    )


def test_the_backup_is_chosen_by_its_id() -> None:
    assert database.choose([run("2"), run("1")], "1", STAGING).id == "1"


@pytest.mark.parametrize(
    ("wanted", "said"), [("7", "There is no backup '7'"), ("1", "Backup 1 cannot be restored")]
)
def test_a_backup_that_cannot_be_restored_is_refused(wanted: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        database.choose([run(status="FAILED")], wanted, STAGING)

    assert raised.value.next_step == "./inv database.backups --environment staging"


def test_the_environments_name_has_to_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    database.typed(STAGING, "", lambda: "staging")(loss())

    assert "Type staging to restore it" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["", "yes", "production"])
def test_any_other_answer_changes_nothing(answer: str) -> None:
    with pytest.raises(Failure, match="was not approved: nothing was changed"):
        database.typed(STAGING, "", lambda: answer)(loss())


def test_the_name_may_be_given_as_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    database.typed(STAGING, "staging", lambda: pytest.fail("asked"))(loss())

    assert "is lost" in capsys.readouterr().err


def test_another_name_in_the_option_is_refused() -> None:
    with pytest.raises(UsageError, match="--confirm production is not the environment staging"):
        database.typed(STAGING, "production", lambda: "staging")


def test_an_environment_without_a_database_is_refused() -> None:
    settings = checked_in_settings(environments={"staging": {"database": {"instance": ""}}})

    with pytest.raises(UsageError, match="staging has no Cloud SQL instance"):
        database.client(settings, settings.environment("staging"), lambda event: None)


def test_backups_are_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    backups.deliver([run()], as_json=False)
    backups.deliver([run()], as_json=True)

    shown = capsys.readouterr()
    assert "before the import" in shown.err + shown.out
    assert json.loads(shown.out.splitlines()[-1])[0] == {
        "id": "1", "enqueued": "2026-11-30T02:00:00+00:00", "status": "SUCCESSFUL", "kind": "ON_DEMAND",
        "description": "before the import",
    }  # fmt: skip


def test_a_dumps_name_ends_with_its_time() -> None:
    address = export.address_of(STAGING, "before-the-import", MONDAY)

    assert address == "gs://lookit-staging-private/exports/before-the-import-20261130T020000Z.sql.gz"
    assert "/exports/staging-2026" in export.address_of(STAGING, "", MONDAY)


@pytest.mark.parametrize("name", ["a/b", "../a", "a b", "-a", "a" * 101])
def test_an_unusable_name_for_a_dump_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a name for an export"):
        export.address_of(STAGING, name, MONDAY)


@pytest.mark.parametrize("section", [{"buckets": {"private": ""}}, {"database": {"instance": ""}}])
def test_without_a_database_or_a_bucket_nothing_is_exported(section: dict[str, Any]) -> None:
    environment = checked_in_settings(environments={"staging": section}).environment("staging")

    with pytest.raises(UsageError, match="cannot be exported") as raised:
        export.address_of(environment, "", MONDAY)

    assert "environments.staging." in raised.value.why


def test_a_login_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"lookit-secrets.env": Secret(b"DB_HOST=proxy\nDB_USER=lookit\nDB_NAME=lookit\n")}
    monkeypatch.setattr(crypt, "decrypt_all", lambda *_: found)

    with pytest.raises(Failure, match="The secrets of staging have no DB_PASSWORD"):
        login.login(SETTINGS, STAGING)
