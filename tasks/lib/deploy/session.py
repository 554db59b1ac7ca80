"""What a deploy, a rollback and a recovery work with from preflight to end, and what may be told of it."""

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy import history, maintenance
from tasks.lib.deploy.events import (
    Began,
    Decided,
    Ended,
    Event,
    LogLine,
    Notice,
    Record,
    Remembered,
    Tell,
    Told,
)
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.lock.holder import Claim
from tasks.lib.deploy.lock.lease import Lock
from tasks.lib.deploy.maintenance import Maintenance
from tasks.lib.deploy.objects import Wanted
from tasks.lib.deploy.plan.document import blanked
from tasks.lib.deploy.plan.field_managers import labelled
from tasks.lib.deploy.plan.plan import Destination
from tasks.lib.deploy.releases import store
from tasks.lib.deploy.releases.seal import Seal
from tasks.lib.errors import Failure
from tasks.lib.redaction import Redactor
from tasks.lib.secrets import sensitive


@dataclass
class Session(Destination):
    """All that the steps of one deploy share."""

    claim: Claim  # who wants the lock
    seal: Seal  # seals the release that is recorded, and checks those that come back
    redactor: Redactor  # takes secret values out of what is told; learns those that are found in the cluster
    record: Record  # what became of each object, without secret values
    tell: Tell  # is told what happens, without secret values
    objects: Sequence[Wanted] = ()  # what is wanted, and kept as the release
    maintenance: Maintenance | None = None  # what is noted of it, as the plan found it
    # What history keeps of the release beside its record: commit, who, backup.
    facts: dict[str, str] = field(default_factory=dict)
    # The releases that are kept, the newest first, as they were read under the lock.
    past: list[Release] = field(default_factory=list)
    zero: Release | None = None  # release 0, if this very deploy has kept it: it needs no seal to be trusted
    began: float = field(default_factory=time.monotonic)  # when applying began, by the monotonic clock
    lock: Lock = field(init=False)  # the environment's, ours once the deploy holds it

    def __post_init__(self) -> None:
        """Have the record and `tell` get no secret values."""
        self.lock = Lock(self.connection.api, self.environment, self.claim)
        self.facts = {**self.claim.notes, "who": self.claim.holder}
        self.record.blank = self.redactor.line
        self.tell = masked(self.tell, self.redactor)

    def resumed(self, connection: Connection, record: Record, objects: Sequence[Wanted]) -> "Session":
        """The same session, which goes on holding the lock, for other objects and a record of their own."""
        other = copy.copy(self)
        other.connection, other.record, other.objects = connection, record, objects
        return other

    @contextmanager
    def opened(self) -> "Iterator[Session]":
        """Close the connection at the end; a failure from within tells no secret values."""
        try:
            with self.redactor.failures():
                yield self
        finally:
            self.api.close()

    def secrets(self) -> list[Json]:
        """The Secrets of the namespace, whose values nothing that is told may contain from now on."""
        found, _ = self.api.list(f"/api/v1/namespaces/{self.namespace}/secrets", doing="list secrets")
        self.learn(found)
        return found

    def learn(self, secrets: Sequence[Json]) -> None:
        """Take out what these Secrets hold too: pods of an earlier release may log what was rotated."""
        self.redactor.learn(sensitive.in_objects(secrets, self.redactor.public))

    def formed(self) -> list[Wanted]:
        """What is wanted of the objects at this moment: while maintenance mode is on, their form for it."""
        self.maintenance = maintenance.read(self.api, self.namespace)
        return self.form_of(self.objects)

    def form_of(self, objects: Sequence[Wanted]) -> list[Wanted]:
        """The same of other objects, by what was found when the plan was made."""
        image = self.settings.image.repository
        return maintenance.formed(objects, self.maintenance, self.environment, image)

    def keep_release(self) -> None:
        """Keep the release in the history; where that fails, how the deploy itself ended stays the news."""
        objects = [labelled(w, self.namespace) for w in self.objects]
        facts = history.facts(self.facts, self.record, objects, time.monotonic() - self.began)
        self.tell(Remembered(facts))
        try:
            number = store.add(self.api, self.namespace, facts, objects, self.past, self.seal.sealed)
            self.tell(Notice(f"kept as release {number}"))
        except Failure as failure:
            self.tell(Notice(f"This release could not be kept in the history: {failure.what} {failure.why}"))


@contextmanager
def recorded(environment: str, tell: Tell) -> Iterator[Record]:
    """The record of an operation; its beginning and its end are told, however it ends."""
    record = Record(environment)
    tell(Began(record))
    try:
        yield record
    finally:
        tell(Ended(record, time.monotonic() - record.began))


def masked(tell: Tell, redactor: Redactor) -> Tell:
    """`tell`, with secret values taken out of whatever comes from the cluster."""

    def tell_masked(event: Event) -> None:
        match event:
            case LogLine(_, line):
                tell(replace(event, line=redactor.line(line)))
            case Told() | Notice():
                tell(replace(event, text=redactor.line(event.text)))
            case Decided(plan):
                tell(Decided(blanked(plan, redactor)))
            case _:
                tell(event)

    return tell_masked
