"""When a deploy backs the database up: before a Job that migrates it runs, if settings name its instance."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from tasks.lib.deploy.backup import cloud_sql
from tasks.lib.deploy.events import Notice
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.plan.plan import Phase, Planned
from tasks.lib.deploy.rollout.judge import previous_run
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.google import sessions

BACKUP: Final = "backup"
INSTANCE: Final = "database"
RESTORING: Final = "docs/rollback.md says how to restore it"


class Backup:
    """The backup of one deploy: asked for before anything changes, waited for before the migration.

    Once it is there, the session's facts name it.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._settings, self._environment = session, session.settings, session.environment
        self._backups: cloud_sql.Backups | None = None
        self._begun: cloud_sql.Begun | None = None
        self._description = ""

    def begin(self, planned: Planned, commit: str) -> None:
        """Ask for a backup if this plan runs a migration; its description names the commit.

        Raises Failure where there will be none, before anything is changed.
        """
        database = self._environment.database
        due = [str(step.ref) for step in planned.steps if self._migrates(step)]
        if not due or not database.instance:
            return
        if not database.backup:
            said = f"{database.instance} is not backed up before {due[0]}: backups are disabled in settings"
            self._session.tell(Notice(said))
            return
        credentials = sessions.authorized_session(self._settings.google)
        self._backups = cloud_sql.Backups(self._settings, database, credentials, self._session.tell)
        self._description = f"lookit-orchestrator, before {commit[:12]} migrates ({uuid.uuid4().hex[:8]})"
        self._begun = self._backups.begin(self._description)
        self._session.tell(
            Notice(f"backup {self._begun.id} of {database.instance} is begun: {due[0]} will run")
        )

    def wait_before(self, phase: Phase) -> None:
        """Wait for the backup if this phase runs the migration; raises Failure where it failed.

        One that was begun while an earlier run still migrated is followed by another: that run has ended now.
        """
        _, steps = phase
        if not self._backups or not self._begun or not any(map(self._migrates, steps)):
            return
        backups, self._backups = self._backups, None
        backups.finish(self._begun)
        instance = self._environment.database.instance
        if any(self._migrates(step) and previous_run(step) for step in steps):
            self._begun = backups.begin(f"{self._description}, after the previous run")
            backups.finish(self._begun)
        self._session.facts |= {BACKUP: self._begun.id, INSTANCE: instance}
        self._session.tell(Notice(f"backup {self._begun.id} of {instance} is there"))

    def _migrates(self, step: Step) -> bool:
        bare = f"{step.ref.kind}/{step.ref.name.removeprefix(self._environment.prefix)}"
        return step.action is Action.RUN and bare in self._settings.deploy.migrations


def reminder(facts: Mapping[str, str]) -> list[str]:
    """What to know after a failed deploy that took a backup."""
    return [f"Before its migration {_backup(facts)} was taken; {RESTORING}."] if BACKUP in facts else []


def way_back(past: Sequence[Release], number: int) -> str:
    """Which backup has the database as release `number` knew it; empty where none is known."""
    later = [one for one in past if one.number > number and BACKUP in one.facts]
    if not later:
        return ""
    first = min(later, key=lambda one: one.number)
    return f"Before release {first.number} migrated, {_backup(first.facts)} was taken; {RESTORING}."


def _backup(facts: Mapping[str, str]) -> str:
    return f"backup {facts[BACKUP]} of {facts.get(INSTANCE, 'the database')}"
