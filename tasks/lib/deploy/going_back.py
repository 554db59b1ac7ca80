"""Rolling back: an earlier release from history, its configuration and image together."""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy import history, lock, notifying, safety
from tasks.lib.deploy.around import Around
from tasks.lib.deploy.hooks import Launcher
from tasks.lib.deploy.progress import Began, Ended, Notice, PhaseBegan, Record, Tell
from tasks.lib.redaction import mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.lib.cluster.connection import Connection
    from tasks.lib.deploy.objects import Wanted
    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Return:
    """What is brought back where.

    Args:
        environment: where.
        number: the release; 0 for the last good one before the present.
        launcher: how hooks are started.

    """

    environment: "Environment"
    number: int = 0
    launcher: Launcher = field(default_factory=Launcher)


def releases(settings: "Settings", environment: "Environment") -> list[history.Past]:
    """The releases that are kept, the newest first."""
    from tasks.lib.cluster.connection import connect

    return history.read(connect(settings, environment).api, environment.namespace)


def roll_back(settings: "Settings", due: Return, tell: Tell) -> Record:
    """Deploy an earlier release anew; Jobs are left out, because migrations are never reversed.

    Args:
        settings: the settings in force.
        due: what is brought back where.
        tell: receives what happens.

    Raises:
        Failure: it cannot be brought back, or does not become ready.

    """
    from tasks.lib.cluster import identity
    from tasks.lib.cluster.connection import connect

    environment = due.environment
    connection = connect(settings, environment)
    try:
        identity.check(connection.api, environment)
        past = history.read(connection.api, environment.namespace)
        chosen = history.choose(past, due.number)
        tell(PhaseBegan(f"back to release {chosen.number}, commit {chosen.facts.get('commit', '?')}"))
        kept = safety.way_back(past, chosen.number)
        tell(Notice(f"The database stays as it is: migrations are not reversed. {kept}".strip()))
        variables = variables_of(chosen)
        with Around(settings, environment, variables, due.launcher, tell, notifying.ROLLBACK).course():
            return _bring_back(settings, environment, connection, chosen, tell)
    finally:
        connection.api.close()


def variables_of(past: history.Past) -> BuildVariables:
    """What was released, for hooks and notifications; what a release does not know is empty."""
    known = {key: past.facts.get(key, "") for key in ("commit", "branch", "tag", "build")}
    return BuildVariables(
        commit_sha=known["commit"], branch_name=known["branch"], tag_name=known["tag"],
        repo_name="", build_id=known["build"],
    )  # fmt: skip


def _bring_back(
    settings: "Settings",
    environment: "Environment",
    connection: "Connection",
    chosen: history.Past,
    tell: Tell,
) -> Record:
    from tasks.lib.deploy.deploying import masked, masked_failures, values_of
    from tasks.lib.deploy.objects import wanted

    record, began = Record(environment.name), time.monotonic()
    api = connection.api
    secrets, _ = api.list(f"/api/v1/namespaces/{environment.namespace}/secrets", doing="list secrets")
    values = values_of(secrets)
    tell = masked(tell, values)
    record.blank = partial(mask, secrets=values)
    record.outcome = "roll back failed"
    tell(Began(record))
    try:
        old = [body for body in chosen.objects() if body["kind"] != "Job"]
        history.require_secrets({secret["metadata"]["name"] for secret in secrets}, old)
        objects = wanted(old, connection.kinds, environment.namespace)
        with masked_failures(values):
            _under_lock(settings, environment, connection, chosen, objects, record, tell)
    finally:
        tell(Ended(record, time.monotonic() - began))
    return record


def _under_lock(
    settings: "Settings",
    environment: "Environment",
    connection: "Connection",
    chosen: history.Past,
    objects: "Sequence[Wanted]",
    record: Record,
    tell: Tell,
) -> None:
    """Plan, apply and wait, and keep a release that says what this one goes back to."""
    from tasks.lib.deploy import engine

    api, claim, began = connection.api, lock.claim_to_go_back(chosen.facts), time.monotonic()
    one = lock.Lock(api, environment, claim)
    with lock.held(one, wait=settings.time_limits.lock, tell=tell):
        planned = engine.plan(settings, environment, connection, objects, engine.Choices())
        try:
            engine.Course(settings, environment, connection, record, tell, one.require).run(planned)
        finally:
            about = {**claim.notes, "who": claim.holder, "back_to": str(chosen.number)}
            facts = history.facts(about, record, objects, record.outcome, time.monotonic() - began)
            history.keep(api, environment.namespace, facts, objects, tell)
