"""What a run of steps in containers makes besides, under its name, and what runs left that were killed."""

import os
import platform
import re
import secrets

from tasks.lib import console, process
from tasks.lib.errors import Failure
from tasks.lib.image import docker, making
from tasks.lib.workspace import gone

OWNER = "org.lookit.pipeline"  # the label of a run's containers: the run's name


def make_name() -> str:
    """A name that no other run has, and that says whose it is; all that the run makes begins with it."""
    return f"{_here()}{os.getpid()}-{secrets.token_hex(3)}"


def remove(run: str, seconds: float) -> None:
    """Remove the containers and volumes of a run; what cannot be removed is said.

    Args:
        run: its name.
        seconds: the limit of one of Docker's small commands.

    """
    try:
        for name in _names(docker.containers_of(f"{OWNER}={run}"), seconds):
            making.remove(docker.remove_container(name), seconds)
        if left := _names(docker.volumes_named(run), seconds):
            making.remove(docker.remove_volumes(left), seconds)
    except Failure as failure:
        console.say(f"Warning: something of {run} is still there: {failure.why or failure.what}")


def sweep(seconds: float) -> None:
    """Remove what killed runs of this machine left; a step of theirs that goes on is named, and left.

    Args:
        seconds: the limit of one of Docker's small commands.

    Raises:
        Failure: no engine answers.

    """
    volume = re.compile(re.escape(_here()) + r"(?P<pid>\d+)-[0-9a-f]{6}(?=-)")
    found = [volume.match(name) for name in _names(docker.volumes_named(_here()), seconds)]
    for run in sorted({one[0] for one in found if one and gone(int(one["pid"]))}):
        if going_on := _names(docker.running_of(f"{OWNER}={run}"), seconds):
            console.say(
                f"A pipeline was killed, and steps of it go on: {', '.join(going_on)}.  "
                f"See `docker logs {going_on[0]}`; end it with `docker stop {going_on[0]}`."
            )
        else:
            remove(run, seconds)


def _here() -> str:
    """What the names of all runs of this machine begin with."""
    return f"lookit-pipeline-{platform.node()}-"


def _names(argv: tuple[str, ...], seconds: float) -> list[str]:
    """The names that one of Docker's commands lists."""
    return process.run(argv, time_limit=seconds).stdout.decode().split()
