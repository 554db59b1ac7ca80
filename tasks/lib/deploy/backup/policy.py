"""When a deploy backs the database up: before a Job that migrates it runs, if settings name its instance."""

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tasks.lib.deploy.events import Notice, Tell
from tasks.lib.deploy.plan.decide import Action, Step
from tasks.lib.deploy.releases.history import Past
from tasks.lib.deploy.rollout.judge import previous_run

if TYPE_CHECKING:
    from tasks.lib.deploy.backup.cloud_sql import Backups, Begun
    from tasks.lib.deploy.plan.plan import Planned
    from tasks.lib.settings.model import Environment, Settings

BACKUP: Final = "backup"
INSTANCE: Final = "database"
RESTORING: Final = "docs/rollback.md says how to restore it"


class Safety:
    """The backup of one deploy: asked for before anything changes, waited for before the migration.

    Args:
        settings: which Jobs migrate, and where the API is.
        environment: whose database.
        tell: is told what happens.

    """

    def __init__(self, settings: "Settings", environment: "Environment", tell: Tell) -> None:
        self._settings, self._environment, self._tell = settings, environment, tell
        self._backups: Backups | None = None
        self._begun: Begun | None = None
        self._description = ""
        self.facts: dict[str, str] = {}

    def begin(self, planned: "Planned", commit: str) -> None:
        """Ask for a backup if this plan runs a migration.

        Args:
            planned: what will be done.
            commit: for the backup's description.

        Raises:
            Failure: there will be none; nothing was changed.

        """
        from tasks.lib.credentials import authorized_session
        from tasks.lib.deploy.backup.cloud_sql import Backups

        database = self._environment.database
        due = [str(step.ref) for step in planned.steps if self._migrates(step)]
        if not due or not database.instance:
            return
        if not database.backup:
            self._tell(Notice(f"{database.instance} is not backed up before {due[0]} runs, as was asked for"))
            return
        session = authorized_session(self._settings.google)
        self._backups = Backups(self._settings, database, session, self._tell)
        self._description = f"lookit-orchestrator, before {commit[:12]} migrates ({uuid.uuid4().hex[:8]})"
        self._begun = self._backups.begin(self._description)
        self._tell(Notice(f"backup {self._begun.id} of {database.instance} is begun: {due[0]} will run"))

    def before(self, steps: Sequence[Step]) -> None:
        """Wait for the backup if one of these steps is the migration.

        One that was begun while an earlier run still migrated is followed by another: that run has ended now.

        Raises:
            Failure: the backup failed; the migration was not started.

        """
        if not self._backups or not self._begun or not any(map(self._migrates, steps)):
            return
        backups, self._backups = self._backups, None
        backups.finish(self._begun)
        instance = self._environment.database.instance
        if any(self._migrates(step) and previous_run(step) for step in steps):
            self._begun = backups.begin(f"{self._description}, after the previous run")
            backups.finish(self._begun)
        self.facts = {BACKUP: self._begun.id, INSTANCE: instance}
        self._tell(Notice(f"backup {self._begun.id} of {instance} is there"))

    def reminder(self) -> list[str]:
        """What to know after a failure: the backup that was taken."""
        if not self.facts:
            return []
        return [f"Before its migration {_backup(self.facts)} was taken; {RESTORING}."]

    def _migrates(self, step: Step) -> bool:
        bare = f"{step.ref.kind}/{step.ref.name.removeprefix(self._environment.prefix)}"
        return step.action is Action.RUN and bare in self._settings.deploy.migrations


def way_back(past: Sequence[Past], number: int) -> str:
    """Which backup has the database as release `number` knew it; empty where none is known.

    Args:
        past: the releases that are kept, in any order.
        number: the release that is gone back to.

    """
    later = [one for one in past if one.number > number and BACKUP in one.facts]
    if not later:
        return ""
    first = min(later, key=lambda one: one.number)
    return f"Before release {first.number} migrated, {_backup(first.facts)} was taken; {RESTORING}."


def _backup(facts: dict[str, str]) -> str:
    return f"backup {facts[BACKUP]} of {facts.get(INSTANCE, 'the database')}"
