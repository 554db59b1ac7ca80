"""Backups against the sandbox's Cloud SQL Admin API, and against answers that it never gives."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.cloud import sql
from tasks.lib import retry
from tasks.lib.deploy.backup.cloud_sql import (
    REQUEST,
    Backups,
    Begun,
    NotBegun,
    Run,
    cause,
    read_begun,
    refused,
)
from tasks.lib.deploy.backup.sql_admin import LONGEST_PAUSE, Refusal
from tasks.lib.deploy.events import Event, Notice
from tasks.lib.errors import Failure, TimedOut
from tests.builders import checked_in_settings
from tests.clock import Clock
from tests.serving import answering

DATABASE = checked_in_settings().environment("staging").database
BY_HAND = (
    "Or by hand: gcloud sql backups create --instance=staging --project=mit-lookit, "
    "then deploy with --no-backup."
)


class Api(BaseHTTPRequestHandler):
    """The sandbox's answers, without its tokens."""

    google: Path
    first: list[tuple[int, bytes]]
    bodies: list[Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(json.loads(body))
        call = sql.restore if self.path.endswith("/restoreBackup") else sql.insert
        self._send(call(self.google, body, "mit-lookit", self.path.split("/")[5]))

    def do_GET(self) -> None:
        if "/operations/" in self.path:
            self._send(sql.get_operation(self.google, "mit-lookit", self.path.rpartition("/")[2]))
        else:
            self._send(sql.list_runs(self.google, "mit-lookit", self.path.split("/")[5]))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass

    def _send(self, answer: Any) -> None:
        status, data = self.first.pop(0) if self.first else (answer.status, json.dumps(answer.body).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> type[Api]:
    monkeypatch.setattr(sql, "time", clock)
    monkeypatch.setattr(retry, "time", clock)
    sql.register(tmp_path, "mit-lookit", "staging")
    return type("Handler", (Api,), {"google": tmp_path, "first": [], "bodies": []})


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def backups(api: type[Api], heard: list[Event]) -> Iterator[Backups]:
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), api)) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        settings = checked_in_settings(google={"sql_admin": url}, time_limits={"backup": "60s"})
        yield Backups(settings, DATABASE, requests.Session(), heard.append)


def test_a_backup_is_asked_for_and_waited_for(backups: Backups, api: type[Api]) -> None:
    begun = backups.begin("before abc")
    assert begun.id.isdigit()
    assert api.bodies == [{"description": "before abc"}]
    backups.finish(begun)
    latest = backups.latest()
    assert latest
    assert (latest.id, latest.status) == (begun.id, "SUCCESSFUL")


def test_without_any_backup_none_is_the_latest(backups: Backups) -> None:
    assert backups.latest() is None


@pytest.mark.parametrize(
    ("how", "what", "command"),
    [
        ("disabled", "The Cloud SQL Admin API is not enabled in project mit-lookit",
         "gcloud services enable sqladmin.googleapis.com --project=mit-lookit"),
        ("stopped", "mit-lookit:us-east1:staging is not in a state to be backed up",
         "Where it is stopped: gcloud sql instances patch staging --project=mit-lookit --activation-policy=ALWAYS"),
        ("quota", "Quota does not allow a backup of mit-lookit:us-east1:staging",
         "gcloud sql backups list --instance=staging --project=mit-lookit"),
    ],
)  # fmt: skip
def test_a_refusal_names_what_mends_it(
    backups: Backups, api: type[Api], how: str, what: str, command: str
) -> None:
    sql.refuse(api.google, "mit-lookit", "staging", how)
    with pytest.raises(Failure) as failure:
        backups.begin("x")
    assert failure.value.what == f"{what}: no backup was taken, and no migration was started."
    assert failure.value.why == sql.REFUSALS[how][2]
    assert failure.value.next_step == f"{command}\n{BY_HAND}"
    assert len(api.bodies) == 1


def test_what_passes_is_tried_again(
    backups: Backups, api: type[Api], heard: list[Event], clock: Clock
) -> None:
    sql.refuse(api.google, "mit-lookit", "staging", "overloaded", "busy", "busy")
    begun = backups.begin("x")
    assert len(api.bodies) == 4
    assert len(clock.slept) == 3
    backups.finish(begun)
    assert heard == [Notice("mit-lookit:us-east1:staging is busy with another operation; waiting …")]


def test_an_instance_that_stays_busy_ends_the_wait(backups: Backups, api: type[Api], clock: Clock) -> None:
    sql.refuse(api.google, "mit-lookit", "staging", *["busy"] * 500)
    with pytest.raises(TimedOut, match="was not there within 60 s: no migration was started") as failure:
        backups.begin("x")
    assert "another operation was already in progress" in failure.value.why
    # The next pause, a quarter longer than the longest at most, would have ended too late.
    assert 60 - 1.25 * LONGEST_PAUSE < sum(clock.slept) <= 60
    assert BY_HAND in failure.value.next_step


def test_a_backup_that_fails_says_why(backups: Backups, api: type[Api]) -> None:
    sql.fail(api.google, "mit-lookit", "staging", "disk full")
    begun = backups.begin("x")
    with pytest.raises(Failure) as failure:
        backups.finish(begun)
    assert failure.value.what == (
        f"Backup {begun.id} of mit-lookit:us-east1:staging failed: no migration was started."
    )
    assert failure.value.why == "INTERNAL_ERROR: disk full"


def test_the_wait_for_a_backup_has_a_limit(
    backups: Backups, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "SECONDS", 1000.0)
    begun = backups.begin("x")
    with pytest.raises(TimedOut) as failure:
        backups.finish(begun)
    assert failure.value.why == f"Backup {begun.id} is PENDING."
    assert failure.value.exit_code == 70
    # The next pause, a quarter longer than the longest at most, would have ended too late.
    assert 60 - 1.25 * LONGEST_PAUSE < sum(clock.slept) <= 60


@pytest.mark.parametrize("first", [(503, b"no"), (200, b"<html>"), (429, b"{}")])
def test_a_poll_that_finds_the_api_in_problem_goes_on(
    backups: Backups, api: type[Api], first: tuple[int, bytes]
) -> None:
    begun = backups.begin("x")
    api.first.append(first)
    backups.finish(begun)

    assert api.first == [], "the API was not asked while it was in problem"


def test_an_operation_that_is_gone_is_told(backups: Backups) -> None:
    with pytest.raises(Failure, match="There is no Cloud SQL instance"):
        backups.finish(Begun("never", "1"))


def test_an_answer_that_names_no_backup_is_refused() -> None:
    with pytest.raises(Failure, match="names no backup"):
        read_begun(DATABASE, {"name": "operation"})


@pytest.mark.parametrize(
    ("answer", "passes", "what"),
    [
        (Refusal(401, ""), False, "Cloud SQL does not accept the credentials"),
        (Refusal(403, "", frozenset({"notAuthorized"})), False,
         "The credentials may not back mit-lookit:us-east1:staging up"),
        (Refusal(403, "", frozenset({"SERVICE_DISABLED"})), False,
         "The Cloud SQL Admin API is not enabled in project mit-lookit"),
        (Refusal(403, "", frozenset({"rateLimitExceeded"})), True, ""),
        (Refusal(404, ""), False, "There is no Cloud SQL instance mit-lookit:us-east1:staging"),
        (Refusal(409, "", frozenset({"invalidState"})), False,
         "mit-lookit:us-east1:staging is not in a state to be backed up"),
        (Refusal(418, ""), False, "Cloud SQL answered 418 when asked to back mit-lookit:us-east1:staging up"),
    ],
    ids=lambda value: f"{value.status} {''.join(value.reasons)}" if isinstance(value, Refusal) else None,
)  # fmt: skip
def test_every_refusal_has_its_meaning(answer: Refusal, passes: bool, what: str) -> None:
    assert answer.passes is passes
    if not passes:
        assert cause(DATABASE, answer)[0] == what
        assert "gcloud sql backups create" in refused(DATABASE, answer).next_step


def usable(backups: Backups, api: type[Api]) -> Run:
    """A backup that can be restored."""
    backups.finish(backups.begin("before it"))
    api.bodies.clear()
    return backups.runs()[0]


def test_backups_are_listed_newest_first(backups: Backups) -> None:
    for number in range(3):
        backups.finish(backups.begin(f"number {number}"))

    assert [run.description for run in backups.runs(2)] == ["number 2", "number 1"]
    assert all(run.is_usable and run.kind == "ON_DEMAND" for run in backups.runs())


def test_a_backup_is_restored_into_its_own_instance(backups: Backups, api: type[Api]) -> None:
    run = usable(backups, api)

    backups.restore(run)

    context = {"backupRunId": run.id, "instanceId": "staging", "project": "mit-lookit"}
    assert api.bodies == [{"restoreBackupContext": context}]
    assert sql.restored(api.google, "mit-lookit", "staging") == [run.id]


@pytest.mark.parametrize("how", ["stopped", "disabled", "quota"])
def test_a_refused_restore_did_not_begin(backups: Backups, api: type[Api], how: str) -> None:
    run = usable(backups, api)
    sql.refuse(api.google, "mit-lookit", "staging", how)

    with pytest.raises(NotBegun, match="was not restored: Cloud SQL refuses it") as raised:
        backups.restore(run)

    assert raised.value.why == sql.REFUSALS[how][2]
    assert f"gcloud sql backups restore {run.id} --restore-instance=staging" in raised.value.next_step


def test_a_restore_of_a_busy_instance_did_not_begin(backups: Backups, api: type[Api]) -> None:
    run = usable(backups, api)
    sql.refuse(api.google, "mit-lookit", "staging", *["busy"] * 1000)

    with pytest.raises(NotBegun, match="has no time for it"):
        backups.restore(run)


def test_a_restore_that_fails_says_why(backups: Backups, api: type[Api]) -> None:
    run = usable(backups, api)
    sql.fail(api.google, "mit-lookit", "staging", "disk full")

    with pytest.raises(Failure, match=f"The restore of backup {run.id} into .* failed") as raised:
        backups.restore(run)

    assert not isinstance(raised.value, NotBegun)
    assert raised.value.why == "INTERNAL_ERROR: disk full"


def test_a_failure_on_request_speaks_of_no_migration(api: type[Api]) -> None:
    refusal = refused(DATABASE, Refusal(403, "no"), REQUEST)

    assert str(refusal.what).endswith("no backup was taken, and nothing else was done.")
    assert "--no-backup" not in refusal.next_step
