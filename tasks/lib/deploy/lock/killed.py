"""A deploy that ended without giving its lock back: what its Lease says of it goes into the history."""

import datetime
from typing import Final

from tasks.lib.cluster.api import Api, Json
from tasks.lib.deploy.events import ReleaseResult
from tasks.lib.deploy.releases import history, store
from tasks.lib.errors import Failure

NOT_KEPT: Final = "It ended without a word, so nobody wrote down what it had applied."


def remember(api: Api, lease: Json, notes: dict[str, str]) -> str:
    """Keep the holder of a Lease that was taken from it as a release.

    Args:
        api: the server.
        lease: the Lease as the holder left it.
        notes: what it says of commit, branch, tag and build.

    Returns:
        What was done, in one sentence; where the history can not be written, whoever comes next goes on.
        A holder that kept its own release had ended, and only could not give the lock back.

    """
    known, namespace = facts(lease, notes), lease["metadata"]["namespace"]
    try:
        past = store.read(api, namespace)
        own = next((one for one in past if _is_by(one, known["who"])), None)
        if own:
            return f"The deploy before had ended, as release {own.number}, and could not give its lock back."
        number = store.add(api, namespace, known, None, past)
    except Failure as failure:
        return f"The deploy that was killed could not be kept in the history: {failure.what}"
    return f"The deploy before was killed, or cut off from the cluster: it is kept as release {number}."


def facts(lease: Json, notes: dict[str, str]) -> dict[str, str]:
    """What is remembered of it, as texts; how long it took is as far as its renewals tell."""
    spec = lease["spec"]
    began, renewed = (_moment(spec.get(key, "")) for key in ("acquireTime", "renewTime"))
    return {
        **notes,
        "who": str(spec.get("holderIdentity", "")),
        "began": began.strftime("%Y-%m-%dT%H:%M:%SZ") if began else "",
        "seconds": f"{(renewed - began).total_seconds():.1f}" if began and renewed else "0.0",
        "phases": "{}",
        "images": "[]",
        "secrets": "[]",
        "result": ReleaseResult.KILLED.value,
        "not_kept": NOT_KEPT,
    }


def _is_by(one: history.Release, who: str) -> bool:
    """Whether a release is this holder's: a claim has a number that is one process's alone."""
    return bool(who) and one.facts.get("who") == who


def _moment(stamp: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(stamp)
    except ValueError:
        return None
