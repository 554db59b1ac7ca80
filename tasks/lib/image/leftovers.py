"""What runs of the application's tests make in the engine, and what those left there that were killed.

Everything is labelled with its process, and with the time when that has reached its limits.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from psutil import pid_exists

from tasks.lib import console, process
from tasks.lib.errors import Failure
from tasks.lib.image import docker, engine
from tasks.lib.settings.model import TimeLimits

OWNER = "org.lookit.test-run"
UNTIL = "org.lookit.test-run.until"


def labels(limits: TimeLimits) -> Mapping[str, str]:
    """The labels of all that this run makes from now on, once its image is built."""
    longest = limits.image_push + limits.database_ready + limits.test + 10 * limits.docker
    return {OWNER: f"{here()}:{os.getpid()}", UNTIL: f"{time.time() + longest:.0f}"}


def sweep(seconds: float) -> list[str]:
    """Remove what runs left behind whose process here is gone, or whose time is over; returns the names."""
    removed = []
    for kind, remove in (("container", docker.remove_container), ("network", docker.remove_network)):
        listed = process.run(docker.labelled(kind, OWNER, UNTIL), time_limit=seconds).stdout.decode()
        for line in listed.splitlines():
            name, owner, until = [*line.split(" "), ""][:3]
            if _abandoned(owner) or _over(until):
                quietly(remove(name), seconds)
                removed.append(name)
    return removed


def quietly(argv: Sequence[str], seconds: float) -> None:
    """Clean up; what cannot be cleaned up is said, but does not hide how the run ended."""
    try:
        engine.remove(argv, seconds)
    except Failure as failure:
        if "No such" not in failure.why and "not found" not in failure.why:
            console.say(f"Warning: `{process.spelled(argv)}` failed, so it is still there: {failure.why}")


def here() -> str:
    """Where this process's number means something: this machine, and in a container that container alone."""
    space = Path("/proc/self/ns/pid")
    return f"{platform.node()}/{space.readlink() if space.is_symlink() else ''}"


def _abandoned(owner: str) -> bool:
    """Whether `owner` (place:pid) is a process of this place that is gone."""
    where, _, pid = owner.rpartition(":")
    return where == here() and pid.isdigit() and not pid_exists(int(pid))


def _over(until: str) -> bool:
    """Whether this second of the epoch, as a label has it, is past."""
    return until.isdigit() and int(until) < time.time()
