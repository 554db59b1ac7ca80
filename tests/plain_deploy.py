"""Deploys of objects as they are, by the steps of real ones, without rendering, hooks and approval."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tasks.lib.deploy.deploy import Operation
from tasks.lib.deploy.events import Record, Tell
from tasks.lib.deploy.lock import lease
from tasks.lib.deploy.lock.holder import claim
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.plan import plan as plans
from tasks.lib.deploy.releases.seal import Seal
from tasks.lib.deploy.session import Session
from tasks.lib.redaction import Redactor

if TYPE_CHECKING:
    from tasks.lib.cluster.gke import Connection
    from tasks.lib.deploy.plan.plan import Planned
    from tasks.lib.settings.model import Environment, Settings


class PlainDeploy(Operation):
    """The deploy of some objects over a connection, which stays open."""

    def __init__(
        self,
        settings: "Settings",
        environment: "Environment",
        connection: "Connection",
        objects: Sequence[dict[str, Any]],
    ) -> None:
        self._settings, self._environment, self._connection = settings, environment, connection
        self._objects = objects

    @contextmanager
    def announced(self, tell: Tell) -> Iterator[Record]:
        """Tell nobody."""
        yield Record(self._environment.name)

    @contextmanager
    def preflight(self, record: Record, tell: Tell) -> Iterator[Session]:
        """Name the objects."""
        environment, seal = self._environment, Seal((self._environment.name, self._environment.namespace))
        session = Session(
            self._settings,
            environment,
            self._connection,
            claim({"commit": "a" * 40}),
            seal,
            Redactor(),
            record,
            tell,
        )
        session.objects = wanted(self._objects, self._connection.kinds, environment.namespace)
        yield session

    @contextmanager
    def locked(self, session: Session) -> Iterator[None]:
        """Hold the lock."""
        with lease.held(session.lock, wait=60, tell=session.tell):
            yield

    def plan(self, session: Session) -> "Planned":
        """Plan as a real deploy does, without removals."""
        return plans.make(session, session.objects, plans.Choices())
