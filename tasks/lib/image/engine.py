"""The Docker engine of this machine: asking it, making things in it, and stopping containers.

An engine goes on with what a client asked for, even when the client ends.  So a client that makes something
does not get the signals to our process group, such as Ctrl-C, and is waited for.
"""

import json
import time
from collections.abc import Sequence
from functools import partial

from tasks.lib import console, process, signals
from tasks.lib.background import Background
from tasks.lib.errors import Failure
from tasks.lib.image import docker

INSTALL = "Debian, Ubuntu: apt-get install docker.io; elsewhere: https://docs.docker.com/engine/install/."
SETTING = "time_limits.docker"
SECONDS_TO_BE_MADE = 0.1  # between two attempts to stop a container that does not exist yet


def builder(seconds: float) -> docker.Builder:
    """What this machine builds images with; both of Docker's answers are waited for at once."""
    plugin = Background(partial(process.run, docker.buildx_version(), time_limit=seconds, setting=SETTING))
    answer = versions(seconds)
    try:
        plugin.wait()
    except Failure:
        return docker.builder(answer, buildx=False)
    return docker.builder(answer, buildx=True)


def versions(seconds: float) -> str:
    """The versions of client and engine; a Failure where no engine answers, or not to this user."""
    try:
        return _output(docker.versions(), seconds)
    except Failure as failure:
        raise _no_answer(failure.why or failure.what) from failure


def _no_answer(words: str) -> Failure:
    if "permission denied" in words.lower():
        return Failure(
            "You may not use the Docker engine of this machine.", words,
            "Join its group, which makes you as good as root: sudo usermod -aG docker $USER && newgrp docker",
        )  # fmt: skip
    return Failure(
        "No Docker engine answers.", words,
        f"Start it (systemctl start docker), or set DOCKER_HOST.  {INSTALL}",
    )  # fmt: skip


def check_alive(seconds: float, during: str) -> None:
    """Say so where a command failed because the engine is gone."""
    try:
        versions(seconds)
    except Failure as failure:
        raise Failure(
            f"The Docker engine stopped during the {during}.", failure.why,
            "See why: journalctl -u docker -n 50. Start it: systemctl start docker. Then run this again.",
        ) from failure  # fmt: skip


def fetch(image: str, seconds: float, pull: float) -> None:
    """Pull an image that is not here: `seconds` for one of Docker's small commands, `pull` for the pull."""
    try:
        _output(docker.image_id(image), seconds)
    except Failure:
        console.say(f"Fetching {image} …")
        process.run(docker.pull(image), time_limit=pull)


def image_id(image: str, seconds: float) -> str:
    """The id of an image in the engine's store: `sha256:…`; a Failure where it has no such image."""
    try:
        return _output(docker.image_id(image), seconds)
    except Failure as failure:
        versions(seconds)  # without an engine nobody knows what images there are
        raise Failure(
            f"This machine has no image {image}.", failure.why, "Build it: ./inv build --source CHECKOUT"
        ) from failure


def labels(image: str, seconds: float) -> dict[str, str]:
    """What an image in the engine's store says of itself."""
    return dict(json.loads(_output(docker.image_labels(image), seconds)) or {})


def _output(argv: Sequence[str], seconds: float) -> str:
    return process.run(argv, time_limit=seconds, setting=SETTING).stdout.decode().strip()


def make(argv: Sequence[str], seconds: float) -> None:
    """Run one of Docker's commands that make something; a signal that comes meanwhile waits for its end."""
    with signals.uninterrupted():
        process.run(argv, time_limit=seconds, apart=True)
    signals.check()


def remove(argv: Sequence[str], seconds: float) -> None:
    """Run one of Docker's commands that remove something; a second Ctrl-C does not end it."""
    process.run(argv, time_limit=seconds, apart=True)


def stop(container: str, ended: process.Ended, grace: float, seconds: float) -> None:
    """Stop the container of a `docker run` until that has `ended`; it may not be made or started yet.

    It has `grace` seconds to end by itself; all may take `seconds` besides. Raises Failure where it cannot be
    stopped in that time.
    """
    deadline = time.monotonic() + grace + seconds
    while not ended(SECONDS_TO_BE_MADE):
        late = time.monotonic() >= deadline
        try:
            process.run(docker.stop(container, grace), time_limit=grace + seconds, apart=True)
        except Failure:  # it is not there yet, or not any more
            if late:
                raise
        else:
            if late:
                return
