"""Whose claim the Lease of a lock is, and what it says in words: its holder, and what that deploys.

lock.py takes, renews and gives back.
"""

import getpass
import os
import socket
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tasks.lib.cluster.api import Json
from tasks.lib.printable import one_line

if TYPE_CHECKING:
    from tasks.lib.build_variables import BuildVariables

NOTE: Final = "lookit-orchestrator/"
NOTED: Final = ("commit", "branch", "tag", "build")


@dataclass(frozen=True)
class Claim:
    """Who wants the lock.

    Args:
        holder: who, on which machine, and a number that is this process's alone.
        notes: what else those who wait should know: commit, branch, build.
        makes_way: whether it gives up waiting when a later one waits too.

    """

    holder: str
    notes: dict[str, str] = field(default_factory=dict)
    makes_way: bool = True


def claim(variables: "BuildVariables") -> Claim:
    """This process's claim."""
    return claim_of(
        {
            "commit": variables.commit_sha,
            "branch": variables.branch_name,
            "tag": variables.tag_name,
            "build": variables.build_id,
        }
    )


def claim_to_go_back(notes: dict[str, str]) -> Claim:
    """This process's claim to bring a release back: whoever asks for that is not sent away by a push."""
    return replace(claim_of(notes), makes_way=False)


def claim_of(notes: dict[str, str]) -> Claim:
    """This process's claim, with notes of another release."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number only
        who = str(os.getuid())
    kept = {key: text for key, text in notes.items() if key in NOTED}
    return Claim(f"{who}@{socket.gethostname()} ({uuid.uuid4().hex[:8]})", kept)


def notes_of(lease: Json) -> dict[str, str]:
    """What a holder noted of its release: commit, branch, tag and build."""
    notes = lease["metadata"].get("annotations") or {}
    return {key: notes[NOTE + key] for key in NOTED if notes.get(NOTE + key)}


def describe(lease: Json) -> str:
    """The holder in words."""
    notes = notes_of(lease)
    told = [f"{key} {notes[key]}" for key in ("branch", "commit", "build") if key in notes]
    holder, since = lease["spec"].get("holderIdentity", "someone"), lease["spec"].get("acquireTime", "?")
    return one_line(", ".join([holder, f"since {since[:19]}Z", *told]))
