"""Giving up a lock whose holder is surely dead, with a note of who did so and why."""

import datetime
from typing import TYPE_CHECKING

from tasks.lib.cluster.api import Api, Json
from tasks.lib.deploy import killed
from tasks.lib.deploy.lock import NAME, Claim, Lock, describe, notes_of
from tasks.lib.errors import Failure, UsageError

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings


def unlock(settings: "Settings", environment: "Environment", by: str, reason: str) -> str:
    """Delete the environment's lock and keep its holder as a killed release; an event says by whom and why.

    Returns:
        What was done, in one sentence.

    Raises:
        UsageError: `by` or `reason` is missing.
        Failure: the cluster cannot be reached, or refuses.

    """
    from tasks.lib.cluster.connection import connect

    if not by or not reason:
        raise UsageError(
            "Giving up a lock takes a name and a reason.", "A deploy may still be running under it.",
            f'./inv release.unlock --environment {environment.name} --by NAME --reason "…"',
        )  # fmt: skip
    api = connect(settings, environment).api
    lease = Lock(api, environment, Claim(by)).read()
    if lease is None:
        return f"No deploy holds the lock of {environment.name}."
    path = f"/apis/coordination.k8s.io/v1/namespaces/{environment.namespace}/leases/{NAME}"
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": lease["metadata"]["uid"]},
    }
    api.request("DELETE", path, doing="give up the lock", body=options)
    kept = killed.remember(api, lease, notes_of(lease))
    told = f"The lock of {environment.name} is given up; it was held by {describe(lease)}. {kept}"
    try:
        _note(api, lease, by, reason)
    except Failure as failure:  # the lock is free all the same, and a deployer need not be allowed to
        return f"{told} No event could be left that says so: {failure.why}"
    return told


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
        "message": f"{by} gave up the lock of {lease['spec'].get('holderIdentity')}: {reason}",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": NAME},
    }
    api.request(
        "POST", f"/api/v1/namespaces/{namespace}/events", doing="note who gave up the lock", body=event
    )
