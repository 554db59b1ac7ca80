"""Steps in containers, as Cloud Build runs them: shared volumes for /workspace and home, and Docker's socket.

Secret values reach a container through the environment of the `docker` process, never through its arguments.
"""

import os
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.lib import console, process
from tasks.lib.errors import Failure
from tasks.lib.image import docker, engine, making
from tasks.lib.pipeline import direct, leftovers
from tasks.lib.pipeline.model import WORKSPACE
from tasks.lib.pipeline.orchestrator import WITH_DOCKER
from tasks.lib.pipeline.resolving import ReadyStep
from tasks.lib.pipeline.running import SECONDS_TO_END, Launch
from tasks.lib.redaction import Secret
from tasks.lib.signals import uninterrupted

HOME = "/builder/home"
SCRIPTS = "/builder/scripts"
SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True)
class Own:
    """What steps of this repository's own image get besides.

    Args:
        image: that image, without a tag.
        arguments: options before the task's name.
        user: who they run as; empty for the image's own user.
        pid: whose processes they see; empty for their own.

    """

    image: str
    arguments: Sequence[str] = ()
    user: str = ""
    pid: str = ""


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Launches steps as containers.

    Args:
        run: the name of this run: volumes and containers begin with it.
        network: the network that containers join.
        secrets: the values of secret variables.
        env: variables for every step; those with the value None are passed on from this process.
        mounts: further mounts for every step, in Docker's spelling.
        seconds: the limit of one of Docker's small commands.
        own: how steps of this repository's own image differ.

    """

    run: str
    network: str
    secrets: Mapping[str, Secret]
    seconds: float
    env: Mapping[str, str | None] = field(default_factory=dict)
    mounts: Sequence[str] = ()
    own: Own = Own("lookit-orchestrator")

    def launch(self, step: ReadyStep) -> Launch:
        """The `docker run` that is this step."""
        name = f"{self.run}-{step.index}"
        hidden = {variable: os.fsdecode(self.secrets[variable].reveal()) for variable in step.secrets}

        def stop(ended: process.Ended) -> None:
            making.stop(name, ended, SECONDS_TO_END, self.seconds)

        return Launch(docker.run(self.container(step, name)), hidden, stop=stop)

    def container(self, step: ReadyStep, name: str) -> docker.Run:
        """Everything about the step's container; its variables come after the run's own."""
        shared = [*self.env.items(), ("HOME", HOME), *step.env.items()]
        plain = [variable if value is None else f"{variable}={value}" for variable, value in shared]
        volumes = [(v.name, v.path) for v in step.volumes]
        is_own = direct.is_own(step, self.own.image)
        return docker.Run(
            image=step.image,
            name=name,
            command=[*(self.own.arguments if is_own else ()), *step.args],
            user=self.own.user if is_own and not step.image.endswith(WITH_DOCKER) else "",
            pid=self.own.pid if is_own else "",
            entrypoint=f"{SCRIPTS}/{step.index}" if step.script else step.entrypoint,
            network=self.network,
            workdir=step.directory,
            environment=[*plain, *step.secrets],
            mounts=[
                *(f"type=volume,source={self.run}-{kind},target={at}" for kind, at in SHARED),
                *(f"type=volume,source={self.run}-volume-{volume},target={at}" for volume, at in volumes),
                f"type=bind,source={engine_socket(os.environ)},target={SOCKET}",
                *self.mounts,
            ],
            labels={leftovers.OWNER: self.run},
        )


SHARED = (("workspace", WORKSPACE), ("home", HOME), ("scripts", SCRIPTS))


def engine_socket(environ: Mapping[str, str]) -> str:
    """The path of the engine's socket, which steps that build images need."""
    host = environ.get("DOCKER_HOST", "")
    return host.removeprefix("unix://") if host.startswith("unix://") else SOCKET


@contextmanager
def volumes(
    run: str, steps: Iterable[ReadyStep], source: Path, helper_image: str, seconds: float
) -> Iterator[None]:
    """The volumes of one run, with `source` in the workspace and the steps' scripts; removed afterwards.

    Args:
        run: the name they begin with.
        steps: those that will run.
        source: what becomes /workspace.
        helper_image: any image that is here: a container of it, never started, is what files are copied into.
        seconds: the limit of one of Docker's small commands.

    """
    helper = f"{run}-copy"
    try:
        mounts = [f"type=volume,source={run}-{kind},target={at}" for kind, at in SHARED]
        making.make(docker.create(helper_image, helper, mounts, {leftovers.OWNER: run}), seconds)
        process.run(docker.copy_into(f"{source}/.", helper, WORKSPACE), time_limit=seconds)
        with tempfile.TemporaryDirectory() as folder:
            write_scripts(Path(folder), steps)
            process.run(docker.copy_into(f"{folder}/.", helper, SCRIPTS), time_limit=seconds)
        yield
    finally:
        with uninterrupted():
            leftovers.remove(run, seconds)


def write_scripts(folder: Path, steps: Iterable[ReadyStep]) -> None:
    """Write each step's script as a program; without a line that says otherwise, sh runs it."""
    folder.chmod(0o755)
    for step in steps:
        if step.script:
            path = folder / str(step.index)
            begin = "" if step.script.startswith("#!") else "#!/bin/sh\n"
            path.write_text(begin + step.script)
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH | stat.S_IROTH)


def fetch_images(steps: Sequence[ReadyStep], chosen: Collection[int], seconds: float, pull: float) -> None:
    """Pull the images of the chosen steps that are not here.

    Raises:
        Failure: one cannot be pulled that no step before may still make.

    """
    wanted = [step for step in steps if step.index in chosen]
    due = {step.image for step in wanted if not step.needs & set(chosen)}
    for image in dict.fromkeys(step.image for step in wanted):
        try:
            _fetch(image, seconds, pull)
        except Failure:
            if image in due:
                raise
            console.say(f"{image} is not to be had yet: a step may still make it.")


def _fetch(image: str, seconds: float, pull: float) -> None:
    try:
        engine.fetch(image, seconds, pull)
    except Failure as failure:
        raise Failure(
            f"The image {image} is neither here nor to be had.", failure.why,
            "Check its name in the build file, and `docker login` to its registry.",
        ) from failure  # fmt: skip
