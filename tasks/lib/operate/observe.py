"""One look at an environment: its cluster, its database's backups and its bucket, at the same time.

Each kind of object is listed once, and nothing is changed.  What cannot be looked at does not keep the rest
from being seen.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from tasks.lib import process
from tasks.lib.background import Background, side_by_side
from tasks.lib.build_variables import git
from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.gke import Connection
from tasks.lib.cluster.kinds import listed
from tasks.lib.deploy import maintenance
from tasks.lib.deploy.backup.cloud_sql import Backups, Run
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.lock.holder import claim
from tasks.lib.deploy.lock.lease import Lock
from tasks.lib.deploy.maintenance import Maintenance
from tasks.lib.deploy.objects import Wanted, ref_of, wanted
from tasks.lib.deploy.releases import drift, review, store
from tasks.lib.deploy.releases.drift import Drifted
from tasks.lib.deploy.rollout.watch import SELECTORS
from tasks.lib.ember import activated
from tasks.lib.ember.access import access
from tasks.lib.ember.activated import Activated
from tasks.lib.errors import Failure
from tasks.lib.google import sessions
from tasks.lib.google.credentials import Tokens, credentials
from tasks.lib.redaction import Redactor
from tasks.lib.secrets import sensitive
from tasks.lib.settings.model import Environment, Settings

Key = tuple[str, str]
Place = tuple[Key, str]  # a kind and a namespace
Part = TypeVar("Part")
SECRET: Final = ("v1", "Secret")
CONFIG_MAP: Final = ("v1", "ConfigMap")
# What is looked at beside the kinds of the release.
LISTED: Final[tuple[Key, ...]] = (
    SECRET,
    CONFIG_MAP,
    ("v1", "Pod"),
    ("v1", "Event"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "Ingress"),
)
LATELY: Final = timedelta(days=1)
GIT_SECONDS: Final = 10


@dataclass(frozen=True)
class Unknown:
    """A part that could not be looked at."""

    part: str
    failure: Failure


@dataclass
class Observed:
    """What was seen of one environment."""

    environment: Environment
    redactor: Redactor
    image: str  # the application's repository
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    version: str = ""  # of the control plane
    node_versions: Sequence[str] = ()
    supported_until: datetime | None = None  # GKE's standard support of that version, where it says so
    things: dict[Place, list[Json]] = field(default_factory=dict)
    past: Sequence[Release] = ()
    release: Release | None = None  # the one in force
    behind: int | None = None  # commits of the branch that it lacks, where that is known
    drifted: Sequence[Drifted] | None = None
    maintenance: Maintenance | None = None
    lease: Json | None = None
    warnings: Sequence[str] = ()  # of the API server
    backup: Run | None = None  # the newest
    activated: Sequence[Activated] = ()
    unknown: list[Unknown] = field(default_factory=list)

    def of_kind(self, *kinds: str) -> list[Json]:
        """The listed objects of these kinds."""
        return [thing for (key, _), things in self.things.items() if key[1] in kinds for thing in things]

    def part(self, name: str, look: Callable[[], Part], otherwise: Part) -> Part:
        """What `look` returns; where it fails, that is remembered."""
        try:
            return look()
        except Failure as failure:
            self.unknown.append(Unknown(name, failure))
            return otherwise


def observe_all(settings: Settings, environments: Sequence[Environment]) -> list[Observed]:
    """A look at several environments at the same time; raises a Failure where there are no credentials."""
    tokens = Tokens(credentials(settings.google))
    return side_by_side(partial(observe, settings, tokens), environments, len(environments))


def observe(settings: Settings, tokens: Tokens, environment: Environment) -> Observed:
    """A look at one environment."""
    redactor = Redactor(public=sensitive.public(settings))
    seen = Observed(environment, redactor, settings.image.repository)
    session = sessions.session_of(tokens)
    look_for_backup = partial(_newest_backup, settings, environment, session)
    backup = Background(lambda: seen.part("backups", look_for_backup, None))
    none: Sequence[Activated] = ()
    pages = Background(lambda: seen.part("Ember apps", partial(_activated, settings, seen, tokens), none))
    support = Background(partial(_supported_until, settings, environment, session))
    seen.part("cluster", partial(_look_at_cluster, settings, seen, tokens), None)
    seen.supported_until = support.wait()
    seen.backup, seen.activated = backup.wait(), pages.wait()
    return seen


def _newest_backup(settings: Settings, environment: Environment, session: sessions.Session) -> Run | None:
    database = environment.database
    if not database.instance:
        return None
    return Backups(settings, database, session, lambda event: None).latest()


def _supported_until(
    settings: Settings, environment: Environment, session: sessions.Session
) -> datetime | None:
    try:
        return gke.end_of_support(settings, environment, session)
    except Failure:  # the look at the cluster asks the same service, and tells
        return None


def _activated(settings: Settings, seen: Observed, tokens: Tokens) -> Sequence[Activated]:
    bucket = access(settings, seen.environment, tokens)
    return activated.since(bucket, settings.ember, seen.at - LATELY)


def _look_at_cluster(settings: Settings, seen: Observed, tokens: Tokens) -> None:
    environment = seen.environment
    with gke.reached(settings, environment, tokens) as connection:
        seen.version, seen.node_versions = connection.found.version, connection.found.node_versions
        mark = Background(partial(gke.check_mark, connection.api, environment))
        lock = Lock(connection.api, environment, claim({}))
        lease = Background(partial(seen.part, "lock", lock.read, None))
        found = _listed(connection, seen, [(key, environment.namespace) for key in LISTED], CONNECTIONS - 2)
        mark.wait()  # nothing is shown of another cluster
        seen.things, seen.lease = found, lease.wait()
        seen.redactor.learn(sensitive.in_objects(seen.of_kind("Secret"), seen.redactor.public))
        seen.past = store.releases(seen.of_kind("ConfigMap"))
        seen.maintenance = maintenance.among(seen.of_kind("ConfigMap"))
        if seen.past:
            seen.part("drift", partial(_look_for_drift, connection, seen), None)
        seen.warnings = sorted(connection.api.warnings)
    if seen.release:
        seen.behind = commits_behind(settings, environment, seen.release.facts.get("commit", ""))


def _look_for_drift(connection: Connection, seen: Observed) -> None:
    seen.release = review.in_force(seen.past, seen.environment.name)
    objects = wanted(review.set_by(seen.release, seen.past), connection.kinds, seen.environment.namespace)
    objects = maintenance.formed(objects, seen.maintenance, seen.environment, seen.image)
    seen.things.update(_listed(connection, seen, [(one.ref.key, one.ref.namespace) for one in objects]))
    _require_listed(seen, objects)
    live = {ref_of(thing): thing for things in seen.things.values() for thing in things}
    seen.drifted = drift.between(connection.api, connection.kinds, objects, seen.release, live)


def _require_listed(seen: Observed, objects: Sequence[Wanted]) -> None:
    """Raise the refusal to list a kind of the release: its objects would count as missing."""
    needed = {one.ref.kind for one in objects} | {"Secret"}
    refused = (one.failure for one in seen.unknown if one.part in needed)
    if failure := next(refused, None):
        raise failure


def _listed(
    connection: Connection, seen: Observed, places: Iterable[Place], at_once: int = CONNECTIONS
) -> dict[Place, list[Json]]:
    """What was not listed yet; a kind that the cluster does not serve has no objects."""
    due = [
        place for place in dict.fromkeys(places) if place not in seen.things and place[0] in connection.kinds
    ]

    def read(place: Place) -> list[Json]:
        return seen.part(place[0][1], partial(_things, connection, *place), [])

    return dict(zip(due, side_by_side(read, due, at_once), strict=True))


def _things(connection: Connection, key: Key, namespace: str) -> list[Json]:
    kind = connection.kinds[key]
    return listed(connection.api, kind, namespace, SELECTORS.get(kind.kind))


def commits_behind(settings: Settings, environment: Environment, commit: str) -> int | None:
    """How many commits of the branch came after `commit`, as far as a checkout knows; else None."""
    if not settings.source.checkout or not commit:
        return None
    folder = settings.root / settings.source.checkout
    argv = (*git(folder), "rev-list", "--count", f"{commit}..origin/{environment.branch}", "--")
    try:
        return int(process.run(argv, time_limit=GIT_SECONDS).stdout)
    except (Failure, ValueError):
        return None
