"""The one order in which a cluster is changed: a deploy, a rollback and a recovery take the same steps."""

from contextlib import AbstractContextManager

from tasks.lib.deploy.apply import PhasedApply
from tasks.lib.deploy.backup.policy import Backup
from tasks.lib.deploy.events import Record, ReleaseResult, Tell
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.session import Session
from tasks.lib.errors import Failure


def deploy(operation: "Operation", tell: Tell) -> Record:
    """Change the cluster as the operation wants it; returns what became of each object.

    Raises Failure where nothing, or not everything, was changed; the message says why. Raises TimedOut where
    something took longer than its limit.
    """
    with (
        operation.announced(tell) as record,
        operation.preflight(record, tell) as session,
        operation.locked(session),
    ):
        planned = operation.plan(session)
        operation.approve(session, planned)
        backup = operation.back_up(session, planned)
        try:
            apply = PhasedApply(session, planned, operation.limit(session))
            for phase in planned.phases:
                with apply.timed(phase):
                    apply.wait_for_previous_runs(phase)
                    backup.wait_before(phase)
                    apply.apply(phase)
                    apply.wait(phase)
            operation.verify(session, planned)
            record.outcome = ReleaseResult.DEPLOYED
            apply.prune(planned.removals)
        except (Failure, KeyboardInterrupt) as end:
            operation.clean_up(session, planned, end)
            raise
        finally:
            operation.record(session, planned)
    return record


class Operation:
    """What is wanted, what is checked before, and what is recorded: in this operations differ."""

    def announced(self, tell: Tell) -> AbstractContextManager[Record]:
        """Tell that the operation begins, and how it ended; the record is filled meanwhile."""
        raise NotImplementedError

    def preflight(self, record: Record, tell: Tell) -> AbstractContextManager[Session]:
        """Check all that can be checked before the lock is taken; the session knows what is wanted."""
        raise NotImplementedError

    def locked(self, session: Session) -> AbstractContextManager[None]:
        """Hold the environment's lock."""
        raise NotImplementedError

    def plan(self, session: Session) -> Planned:
        """Find out what has to be done; nothing in the cluster changes."""
        raise NotImplementedError

    def approve(self, session: Session, planned: Planned) -> None:
        """Have the plan approved, where someone is to be asked; raises to stop."""

    def back_up(self, session: Session, planned: Planned) -> Backup:
        """Back up what the plan changes, where there is something to back up."""
        return Backup(session)

    def limit(self, session: Session) -> float:
        """The seconds that all phases together may take."""
        return session.settings.time_limits.deploy

    def verify(self, session: Session, planned: Planned) -> None:
        """Check what no single object shows, once all are ready; raises where it does not hold."""

    def clean_up(self, session: Session, planned: Planned, end: BaseException) -> None:
        """Do what has to be done once it failed or was interrupted; the caller raises `end` again."""

    def record(self, session: Session, planned: Planned) -> None:
        """Keep the release in the cluster's history, however it ended."""
