"""Rolling back: an earlier release from history, its configuration and image together."""

import time
from functools import partial
from typing import TYPE_CHECKING

from tasks.lib.deploy import history, lock, safety
from tasks.lib.deploy.progress import Began, Ended, Notice, PhaseBegan, Record, Tell
from tasks.lib.redaction import mask

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings


def releases(settings: "Settings", environment: "Environment") -> list[history.Past]:
    """The releases that are kept, the newest first."""
    from tasks.lib.cluster.connection import connect

    return history.read(connect(settings, environment).api, environment.namespace)


def roll_back(settings: "Settings", environment: "Environment", number: int, tell: Tell) -> Record:
    """Deploy an earlier release anew; Jobs are left out, because migrations are never reversed.

    Args:
        settings: the settings in force.
        environment: where.
        number: the release; 0 for the last good one before the present.
        tell: receives what happens.

    Raises:
        Failure: it cannot be brought back, or does not become ready.

    """
    from tasks.lib.cluster import identity
    from tasks.lib.cluster.connection import connect
    from tasks.lib.deploy import engine
    from tasks.lib.deploy.deploying import masked, masked_failures, values_of
    from tasks.lib.deploy.objects import wanted

    record, began = Record(environment.name), time.monotonic()
    connection = connect(settings, environment)
    api = connection.api
    identity.check(api, environment)
    past = history.read(api, environment.namespace)
    chosen = history.choose(past, number)
    tell(PhaseBegan(f"back to release {chosen.number}, commit {chosen.facts.get('commit', '?')}"))
    kept = safety.way_back(past, chosen.number)
    tell(Notice(f"The database stays as it is: migrations are not reversed. {kept}".strip()))
    old = [body for body in chosen.objects() if body["kind"] != "Job"]
    secrets, _ = api.list(f"/api/v1/namespaces/{environment.namespace}/secrets", doing="list secrets")
    values = values_of(secrets)
    tell = masked(tell, values)
    record.blank = partial(mask, secrets=values)
    tell(Began(record))
    history.require_secrets({secret["metadata"]["name"] for secret in secrets}, old)
    objects = wanted(old, connection.kinds, environment.namespace)
    claim = lock.claim_of(chosen.facts)
    record.outcome = "roll back failed"
    try:
        one = lock.Lock(api, environment, claim)
        with masked_failures(values), lock.held(one, wait=settings.time_limits.lock, tell=tell):
            planned = engine.plan(settings, environment, connection, objects, engine.Choices())
            try:
                engine.Course(settings, environment, connection, record, tell, one.require).run(planned)
            finally:
                about = {**claim.notes, "who": claim.holder, "back_to": str(chosen.number)}
                facts = history.facts(about, record, objects, record.outcome, time.monotonic() - began)
                history.keep(api, environment.namespace, facts, objects, tell)
    finally:
        tell(Ended(record, time.monotonic() - began))
        api.close()
    return record
