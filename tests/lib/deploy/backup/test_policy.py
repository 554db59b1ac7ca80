from dataclasses import replace
from typing import Any

import pytest

from tasks.lib.deploy.backup import cloud_sql
from tasks.lib.deploy.backup.cloud_sql import Begun
from tasks.lib.deploy.backup.policy import Backup, reminder, way_back
from tasks.lib.deploy.events import Event, Notice
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import UsageError
from tasks.lib.google import sessions
from tests.builders import checked_in_settings
from tests.lib.deploy.sessions import a_session


def planned(action: Action, name: str = "staging-migration") -> Planned:
    job = Wanted(Ref("batch/v1", "Job", "default", name), {})
    return Planned((("jobs", (Step(job, action, "", {}),)),), {}, {})


def began(plan: Planned, **database: object) -> list[Event]:
    heard: list[Event] = []
    session = a_session(told=heard, environments={"staging": {"database": database}})
    backup = Backup(session)
    backup.begin(plan, "a" * 40)
    for phase in plan.phases:
        backup.wait_before(phase)
    assert reminder(session.facts) == []
    return heard


@pytest.mark.parametrize("action", [Action.SKIP, Action.AWAIT])
def test_a_migration_that_does_not_start_needs_no_backup(action: Action) -> None:
    assert began(planned(action)) == []


def test_other_jobs_need_none() -> None:
    assert began(planned(Action.RUN, "staging-collectstatic")) == []


def test_an_environment_that_names_no_instance_has_none() -> None:
    assert began(planned(Action.RUN), instance="") == []


def test_where_settings_want_none_it_is_said() -> None:
    assert began(planned(Action.RUN), backup=False) == [
        Notice(
            "mit-lookit:us-east1:staging is not backed up before Job staging-migration: "
            "backups are disabled in settings"
        )
    ]


class Taken:
    """Backups that are there as soon as they are waited for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.there: list[str] = []

    def begin(self, description: str) -> Begun:
        self.asked.append(description)
        return Begun("operation", str(len(self.asked)))

    def finish(self, begun: Begun) -> None:
        self.there.append(begun.id)


RUNNING = {"metadata": {"uid": "u"}, "spec": {}, "status": {"active": 1}}
ENDED = {**RUNNING, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}


@pytest.mark.parametrize(("live", "count"), [(None, 1), (ENDED, 1), (RUNNING, 2)])
def test_a_backup_from_before_another_migration_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, live: dict[str, Any] | None, count: int
) -> None:
    taken = Taken()
    monkeypatch.setattr(cloud_sql, "Backups", lambda *_: taken)
    monkeypatch.setattr(sessions, "authorized_session", lambda *_: None)
    session = a_session()
    backup = Backup(session)
    plan = planned(Action.RUN)
    plan = replace(plan, phases=(("jobs", tuple(replace(step, live=live) for step in plan.steps)),))

    backup.begin(plan, "a" * 40)
    backup.wait_before(plan.phases[0])

    assert taken.there == [str(number + 1) for number in range(count)]
    assert session.facts["backup"] == str(count)
    assert reminder(session.facts) == [
        f"Before its migration backup {count} of mit-lookit:us-east1:staging was taken; "
        "docs/rollback.md says how to restore it."
    ]


def past(number: int, **facts: str) -> Release:
    return Release(number, facts, "", 0)


def test_the_way_back_is_the_first_backup_after_the_release() -> None:
    releases = [past(5, backup="50", database="p:r:i"), past(4), past(3, backup="30"), past(2, backup="20")]
    said = "was taken; docs/rollback.md says how to restore it."
    assert way_back(releases, 4) == f"Before release 5 migrated, backup 50 of p:r:i {said}"
    assert way_back(releases, 2) == f"Before release 3 migrated, backup 30 of the database {said}"
    assert way_back(releases, 5) == ""


@pytest.mark.parametrize("instance", ["mit-lookit:us-east1:staging", "example.com:lookit:us-east1:db-1"])
def test_an_instance_goes_by_its_connection_name(instance: str) -> None:
    settings = checked_in_settings(environments={"staging": {"database": {"instance": instance}}})
    database = settings.environment("staging").database
    assert f"{database.project}:us-east1:{database.name}" == instance


@pytest.mark.parametrize("instance", ["staging", "p:staging", "a:b:C", "a:b:c:d:e"])
def test_anything_else_is_refused(instance: str) -> None:
    with pytest.raises(UsageError, match="not valid"):
        checked_in_settings(environments={"staging": {"database": {"instance": instance}}})
