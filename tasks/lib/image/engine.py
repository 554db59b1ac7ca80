"""The Docker engine of this machine: is it there, what does it build with, what images has it."""

import json
from functools import partial

from tasks.lib import console, process
from tasks.lib.background import Background
from tasks.lib.errors import Failure
from tasks.lib.image import docker

INSTALL = "Debian, Ubuntu: apt-get install docker.io; elsewhere: https://docs.docker.com/engine/install/."


def builder(seconds: float) -> docker.Builder:
    """What this machine builds images with; both of Docker's answers are waited for at once.

    Raises:
        Failure: no Docker engine answers.

    """
    plugin = Background(
        partial(process.run, docker.buildx_version(), time_limit=seconds, setting="time_limits.docker")
    )
    answer = versions(seconds)
    try:
        plugin.wait()
    except Failure:
        return docker.builder(answer, buildx=False)
    return docker.builder(answer, buildx=True)


def versions(seconds: float) -> str:
    """The versions of client and engine.

    Raises:
        Failure: no Docker engine answers.

    """
    try:
        return process.run(
            docker.versions(), time_limit=seconds, setting="time_limits.docker"
        ).stdout.decode()
    except Failure as failure:
        raise no_answer(failure.why or failure.what) from failure


def no_answer(words: str) -> Failure:
    """The error for an engine that does not answer, or not to this user."""
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
    """Say so where a command failed because the engine is gone.

    Raises:
        Failure: it does not answer.

    """
    try:
        versions(seconds)
    except Failure as failure:
        raise Failure(
            f"The Docker engine stopped during the {during}.", failure.why,
            "See why: journalctl -u docker -n 50. Start it: systemctl start docker. Then run this again.",
        ) from failure  # fmt: skip


def fetch(image: str, seconds: float, pull: float) -> None:
    """Pull an image that is not here.

    Args:
        image: its name.
        seconds: the limit of one of Docker's small commands.
        pull: the limit, in seconds, of the pull.

    Raises:
        Failure: it is not to be had.
        TimedOut: the pull took too long.

    """
    try:
        process.run(docker.image_id(image), time_limit=seconds, setting="time_limits.docker")
    except Failure:
        console.say(f"Fetching {image} …")
        process.run(docker.pull(image), time_limit=pull)


def image_id(image: str, seconds: float) -> str:
    """The id of an image in the engine's store: `sha256:…`.

    Raises:
        Failure: it has no such image, or no engine answers.

    """
    try:
        return (
            process.run(docker.image_id(image), time_limit=seconds, setting="time_limits.docker")
            .stdout.decode()
            .strip()
        )
    except Failure as failure:
        versions(seconds)  # without an engine nobody knows what images there are
        raise Failure(
            f"This machine has no image {image}.", failure.why, "Build it: ./inv build --source CHECKOUT"
        ) from failure


def labels(image: str, seconds: float) -> dict[str, str]:
    """What an image in the engine's store says of itself.

    Raises:
        Failure: it has no such image, or no engine answers.

    """
    said = json.loads(
        process.run(docker.image_labels(image), time_limit=seconds, setting="time_limits.docker").stdout
    )
    return dict(said or {})
