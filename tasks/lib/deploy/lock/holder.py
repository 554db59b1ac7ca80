"""Who holds the lock: a claim to it, its Lease in words, and what is kept of a holder that was killed."""

import datetime
import getpass
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tasks.lib.cluster.api import Api, Json
from tasks.lib.deploy.events import ReleaseResult
from tasks.lib.deploy.objects import annotations
from tasks.lib.deploy.releases import store
from tasks.lib.errors import Failure
from tasks.lib.printable import one_line

NOTE: Final = "lookit-orchestrator/"
NOT_KEPT: Final = "It was killed, so nothing recorded what it had applied."
OPERATION: Final = "operation"  # what holds the lock where it is no deploy: it leaves no release
NOTED: Final = ("commit", "branch", "tag", "build", OPERATION)


@dataclass(frozen=True)
class Claim:
    """Who wants the lock."""

    holder: str  # who, on which machine, and a number that is this process's alone
    # What else those who wait should know: commit, branch, build.
    notes: dict[str, str] = field(default_factory=dict)
    makes_way: bool = True  # whether it gives up waiting when a later one waits too


def claim(notes: Mapping[str, str], *, makes_way: bool = True) -> Claim:
    """This process's claim, with what these facts say of the release.

    Whoever brings a release back does not make way: that is not sent away by a push.
    """
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number only
        who = str(os.getuid())
    kept = {key: text for key, text in notes.items() if key in NOTED}
    return Claim(f"{who}@{socket.gethostname()} ({uuid.uuid4().hex[:8]})", kept, makes_way)


def notes_of(lease: Json) -> dict[str, str]:
    """What a holder noted of its release: commit, branch, tag and build."""
    notes = annotations(lease)
    return {key: notes[NOTE + key] for key in NOTED if notes.get(NOTE + key)}


def describe(lease: Json) -> str:
    """The holder in words."""
    notes = notes_of(lease)
    told = [f"{key} {notes[key]}" for key in (OPERATION, "branch", "commit", "build") if key in notes]
    holder, since = lease["spec"].get("holderIdentity", "someone"), lease["spec"].get("acquireTime", "?")
    return one_line(", ".join([holder, f"since {since[:19]}Z", *told]))


def remember_killed(api: Api, lease: Json) -> str:
    """Keep the holder of a Lease that was taken from it as a release.

    Returns what was done, in a sentence; where the history cannot be written, the next deploy goes on.
    A holder that kept its own release had ended, and only could not give the lock back.
    """
    known, namespace = facts(lease), lease["metadata"]["namespace"]
    if operation := known.get(OPERATION):
        return f"The previous {operation} was killed, or lost the cluster."
    try:
        past = store.read(api, namespace)
        # A claim has a number that is one process's alone.
        own = next((one for one in past if known["who"] and one.facts.get("who") == known["who"]), None)
        if own:
            return f"The previous deploy had ended, as release {own.number}, but could not release its lock."
        number = store.add(api, namespace, known, None, past)
    except Failure as failure:
        return f"The deploy that was killed could not be kept in the history: {failure.what}"
    return f"The previous deploy was killed, or lost the cluster: it is kept as release {number}."


def facts(lease: Json) -> dict[str, str]:
    """What is remembered of it, as texts; how long it took is as far as its renewals tell."""
    spec = lease["spec"]
    began, renewed = (_moment(spec.get(key, "")) for key in ("acquireTime", "renewTime"))
    return {
        **notes_of(lease),
        "who": str(spec.get("holderIdentity", "")),
        "began": began.strftime("%Y-%m-%dT%H:%M:%SZ") if began else "",
        "seconds": f"{(renewed - began).total_seconds():.1f}" if began and renewed else "0.0",
        "phases": "{}",
        "images": "[]",
        "secrets": "[]",
        "result": ReleaseResult.KILLED.value,
        "not_kept": NOT_KEPT,
    }


def _moment(stamp: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(stamp)
    except ValueError:
        return None
