"""Force-releasing the lock of a dead deploy, with an event that says who did so and why."""

import datetime

from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.gke import connect
from tasks.lib.deploy.lock.holder import Claim, describe, remember_killed
from tasks.lib.deploy.lock.lease import NAME, Lock
from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.model import Environment, Settings


def unlock(settings: Settings, environment: Environment, by: str, reason: str) -> str:
    """Delete the environment's lock and keep its holder as a killed release; an event says by whom and why.

    Returns what was done, in one sentence; raises UsageError where `by` or `reason` is missing.
    """
    if not by or not reason:
        raise UsageError(
            "Releasing the lock of another deploy takes --by and --reason.",
            "That deploy may still be running.",
            f'./inv release.unlock --environment {environment.name} --by NAME --reason "…"',
        )  # fmt: skip
    api = connect(settings, environment).api
    lease = give_up(Lock(api, environment, Claim(by)))
    if lease is None:
        return f"No deploy holds the lock of {environment.name}."
    kept = remember_killed(api, lease)
    told = f"Released the lock of {environment.name}, held by {describe(lease)}. {kept}"
    try:
        _note(api, lease, by, reason)
    except Failure as failure:  # the lock is free all the same, and a deployer need not be allowed to
        return f"{told} No event could be left that says so: {failure.why}"
    return told


def give_up(one: Lock) -> Json | None:
    """Delete the Lease while it is the same holder's; returns it or None; raises Failure for another's."""
    first = lease = one.read()
    while first and lease:
        if _tenure(lease) != _tenure(first):
            raise Failure(
                "Another deploy took the lock over a moment ago: nothing was released.",
                f"It was held by {describe(first)}; now by {describe(lease)}.",
                "The one that was dead is gone: wait for the deploy that holds it now.",
            )
        if one.delete(lease, doing="release the lock"):
            return lease
        lease = one.read()  # it was renewed, or someone announced that they wait
    return None


def _tenure(lease: Json) -> tuple[str, ...]:
    spec = lease["spec"]
    return lease["metadata"]["uid"], spec.get("holderIdentity", ""), spec.get("acquireTime", "")


def _note(api: Api, lease: Json, by: str, reason: str) -> None:
    """Leave an event about the Lease."""
    namespace = lease["metadata"]["namespace"]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": NAME, "namespace": namespace}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{NAME}-", "namespace": namespace},
        "involvedObject": {**about, "uid": lease["metadata"]["uid"]},
        "type": "Normal",
        "reason": "Unlocked",
        "message": f"{by} released the lock of {lease['spec'].get('holderIdentity')}: {reason}",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": NAME},
    }
    api.request(
        "POST", f"/api/v1/namespaces/{namespace}/events", doing="note who released the lock", body=event
    )
