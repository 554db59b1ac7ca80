"""A rolling restart: new pods of the same state, one after the other, waited for as a deploy does."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from tasks.lib.cluster.api import FIELD_MANAGER, MERGE_PATCH, Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy.events import Began, PhaseBegan, Record, Result, Row, Tell
from tasks.lib.deploy.lock import lease
from tasks.lib.deploy.lock.holder import OPERATION, claim
from tasks.lib.deploy.objects import Ref, ref_of
from tasks.lib.deploy.rollout.judge import Target, last_write
from tasks.lib.deploy.rollout.wait import Wait
from tasks.lib.deploy.session import masked
from tasks.lib.deploy.steps import Action
from tasks.lib.operate import workloads
from tasks.lib.settings.model import Environment, Settings

# kubectl's own, so that `kubectl rollout history` shows it as its own restarts.
ANNOTATION: Final = "kubectl.kubernetes.io/restartedAt"


def restart(settings: Settings, environment: Environment, names: Sequence[str], tell: Tell) -> list[str]:
    """Restart workloads under the environment's lock, and wait until they are ready; returns their names.

    Old pods go when new ones are ready, so a restart that fails leaves them.

    Raises:
        UsageError: there is no such workload.
        Failure: a deploy holds the lock, or a workload cannot become ready.
        TimedOut: not all were ready within time_limits.rollout.

    """
    with workloads.reached(settings, environment) as (connection, redactor):
        found = workloads.find(settings, environment, connection, names)
        mine = lease.Lock(connection.api, environment, claim({OPERATION: "restart"}))
        with lease.held(mine, wait=0, tell=tell):
            body, record = patch(datetime.now(UTC)), Record(environment.name, blank=redactor.line)

            def write(ref: Ref) -> Json:
                return change(connection, ref, body, doing=f"restart {ref}")

            refs = [ref_of(one) for one in found]
            follow(settings, connection, "restart", refs, write, record, masked(tell, redactor))
    return [str(ref_of(one)) for one in found]


def patch(at: datetime) -> Json:
    """What makes the controller replace the pods."""
    return {
        "spec": {"template": {"metadata": {"annotations": {ANNOTATION: at.isoformat(timespec="seconds")}}}}
    }


def follow(
    settings: Settings,
    connection: Connection,
    title: str,
    refs: Sequence[Ref],
    write: Callable[[Ref], Json],
    record: Record,
    tell: Tell,
) -> None:
    """Write objects, each by `write`, which returns it as the server stored it, and wait until all are ready.

    Raises:
        Failure: one cannot become ready.
        TimedOut: not all were ready within time_limits.rollout.

    """
    record.rows = {ref: Row(title, ref, Action.CHANGE) for ref in refs}
    tell(Began(record))
    tell(PhaseBegan(title))
    api, limits = connection.api.assured(), settings.time_limits
    targets = []
    for ref in refs:
        record.begin(ref, Result.APPLYING)
        live = write(ref)
        targets.append(Target(ref, live["metadata"]["uid"], live["metadata"]["generation"], last_write(live)))
    wait = Wait(api, refs[0].namespace, targets, record, tell, {"scheduling": limits.scheduling})
    wait.until_ready(connection.kinds, limits.rollout)


def change(connection: Connection, ref: Ref, body: Json, *, doing: str) -> Json:
    """Change an object by a merge patch; returns it as the server stored it.

    The field manager is the deploy's, by an update beside what it applies: so this is no drift, and the next
    deploy keeps it.
    """
    return connection.api.request(
        "PATCH", connection.kinds[ref.key].path(ref.namespace, ref.name), doing=doing,
        body=body, content_type=MERGE_PATCH, query={"fieldManager": FIELD_MANAGER},
    )  # fmt: skip
