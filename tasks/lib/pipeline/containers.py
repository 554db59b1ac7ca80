"""Steps in containers, as Cloud Build runs them: volumes for /workspace and home, and Docker's socket.

Secret values reach a container through the environment of the `docker` process, never through its arguments.
Everything that a run makes begins with the run's name, so that the next run finds what a killed one left.
"""

import os
import platform
import re
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from psutil import pid_exists

from tasks.lib import console, process
from tasks.lib.errors import Failure, all_problems
from tasks.lib.image import build, docker, engine
from tasks.lib.image.reference import Reference, parse
from tasks.lib.pipeline.build_file import WORKSPACE
from tasks.lib.pipeline.graph import SECONDS_TO_END, Launch
from tasks.lib.pipeline.steps import ReadyStep
from tasks.lib.redaction import Secret
from tasks.lib.settings.model import Settings
from tasks.lib.signals import uninterrupted

HOME = "/builder/home"
SCRIPTS = "/builder/scripts"
SOCKET = "/var/run/docker.sock"
SHARED = (("workspace", WORKSPACE), ("home", HOME), ("scripts", SCRIPTS))
OWNER = "org.lookit.pipeline"  # the label of a run's containers: the run's name
LONGEST_NODE = 24  # of its name; a step's container is also a host name, which may have 64 characters
# What a step tells Docker of Cloud Build's own machine, where the workspace lies at /workspace.
WORKSPACE_MOUNTED = re.compile(
    r"""(?:-v|--volume)[ =]?["']?(?:/workspace|\$PWD|\$\{PWD\}|\$\(pwd\))(?:/[^\s:"']*)?["']?:"""
    r"""|--mount[ =]\S*(?:source|src)=/workspace\b"""
)
NOT_THERE = re.compile("Could not find the file|No such container:path")  # of `docker cp`, by its version
CLOUD_NETWORK = "cloudbuild"
NETWORK_NAMED = re.compile(rf"--net(?:work)?[ =]{CLOUD_NETWORK}\b")
# Tags that end so are the stage with Docker's client; all others the one without.
WITH_DOCKER = "-docker"


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Launches steps as containers."""

    run: str
    network: str
    secrets: Mapping[str, Secret]
    seconds: float  # the limit of one of Docker's small commands
    own_image: str  # this repository's own, without a tag
    env: Mapping[str, str | None] = field(default_factory=dict)  # None: passed on from this process
    mounts: Sequence[str] = ()  # paths of this machine that every step sees under the same name
    settings_file: Path | None = None
    sandbox: Path | None = None

    def launch(self, step: ReadyStep) -> Launch:
        """The `docker run` that is this step."""
        name = f"{self.run}-{step.index}"
        hidden = {variable: os.fsdecode(self.secrets[variable].reveal()) for variable in step.secrets}

        def stop(ended: process.Ended) -> None:
            engine.stop(name, ended, SECONDS_TO_END, self.seconds)

        return Launch(docker.run(self.container(step, name)), hidden, stop=stop)

    def take(self, place: str, folder: Path) -> None:
        """Copy a file or folder of the workspace, if it is there, into `folder`."""
        source = f"{WORKSPACE}/{place}"
        try:
            process.run(docker.copy_out(f"{self.run}-copy", source, str(folder)), time_limit=self.seconds)
        except Failure as failure:
            if not NOT_THERE.search(failure.why):
                raise

    def container(self, step: ReadyStep, name: str) -> docker.Run:
        """Everything about the step's container; its own variables come after the run's."""
        variables = [*self.env.items(), ("HOME", HOME), *step.env.items()]
        plain = [variable if value is None else f"{variable}={value}" for variable, value in variables]
        own = is_own(step, self.own_image)
        settings = ["-f", str(self.settings_file)] if own and self.settings_file else []
        # The sandbox's files belong to whoever runs it, and its processes show whether it is up.
        in_sandbox = own and self.sandbox is not None
        as_root = step.image.endswith(WITH_DOCKER)
        seen = [*self.mounts, *(path for path in (self.sandbox, self.settings_file) if path)]
        return docker.Run(
            image=step.image,
            name=name,
            command=[*settings, *step.args],
            user=f"{os.getuid()}:{os.getgid()}" if in_sandbox and not as_root else "",
            pid="host" if in_sandbox else "",
            entrypoint=f"{SCRIPTS}/{step.index}" if step.script else step.entrypoint,
            network=self.network,
            hostname=name,
            workdir=step.directory,
            environment=[*plain, *step.secrets],
            mounts=[
                *shared_mounts(self.run),
                *(f"type=volume,source={self.run}-volume-{v.name},target={v.path}" for v in step.volumes),
                f"type=bind,source={engine_socket(os.environ)},target={SOCKET}",
                *(f"type=bind,source={path},target={path}" for path in seen),
            ],
            labels={OWNER: self.run},
        )


def shared_mounts(run: str) -> list[str]:
    """The mounts of the volumes that all steps of a run share."""
    return [f"type=volume,source={run}-{kind},target={path}" for kind, path in SHARED]


def engine_socket(environ: Mapping[str, str]) -> str:
    """The path of the engine's socket, which steps that build images need."""
    host = environ.get("DOCKER_HOST", "")
    return host.removeprefix("unix://") if host.startswith("unix://") else SOCKET


def make_name() -> str:
    """A name for a run that no other has: it holds this process's number."""
    return f"{_here()}{os.getpid()}-{secrets.token_hex(3)}"


def check(steps: Iterable[ReadyStep], network: str) -> None:
    """Refuse steps that name Cloud Build's own workspace or network to Docker: here they have other names."""
    problems = []
    for step in steps:
        text = " ".join([step.entrypoint, *step.args, step.script])
        if found := WORKSPACE_MOUNTED.search(text):
            problems.append(
                f"step {step.title} mounts a folder of Cloud Build's machine ({found[0]}…): "
                'write --volumes-from "$(hostname)" instead, which gives it /workspace'
            )
        if network != CLOUD_NETWORK and NETWORK_NAMED.search(text):
            problems.append(
                f"step {step.title} joins Cloud Build's network {CLOUD_NETWORK}: "
                'write --network "container:$(hostname)" instead, which gives it the step\'s network'
            )
    if problems:
        raise all_problems(
            "Some steps need Cloud Build's own machine.", problems,
            "What is written so works there too ($$ for $ in args).  See docs/pipeline.md.",
        )  # fmt: skip


@contextmanager
def volumes(
    run: str, steps: Iterable[ReadyStep], source: Path, helper_image: str, seconds: float
) -> Iterator[None]:
    """The volumes of one run, with `source` in the workspace and the steps' scripts; removed afterwards.

    Files are copied by a container that never starts, of any image that the engine has (`helper_image`).
    """
    helper = f"{run}-copy"
    try:
        engine.make(docker.create(helper_image, helper, shared_mounts(run), {OWNER: run}), seconds)
        process.run(docker.copy_into(f"{source}/.", helper, WORKSPACE), time_limit=seconds)
        with tempfile.TemporaryDirectory() as folder:
            write_scripts(Path(folder), steps)
            process.run(docker.copy_into(f"{folder}/.", helper, SCRIPTS), time_limit=seconds)
        yield
    finally:
        with uninterrupted():
            remove(run, seconds)


def write_scripts(folder: Path, steps: Iterable[ReadyStep]) -> None:
    """Write each step's script as a program; without a first line that says otherwise, sh runs it."""
    folder.chmod(0o755)
    for step in steps:
        if step.script:
            path = folder / str(step.index)
            begin = "" if step.script.startswith("#!") else "#!/bin/sh\n"
            path.write_text(begin + step.script)
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH | stat.S_IROTH)


def fetch_images(steps: Sequence[ReadyStep], seconds: float, pull: float) -> None:
    """Pull the images of `steps` that are not available locally.

    Raises Failure where one cannot be pulled, and no step before it could still build it.
    """
    chosen = {step.index for step in steps}
    due = {step.image for step in steps if not step.needs & chosen}
    for image in dict.fromkeys(step.image for step in steps):
        try:
            engine.fetch(image, seconds, pull)
        except Failure as failure:
            if image in due:
                raise Failure(
                    f"The image {image} is not available locally and could not be pulled.", failure.why,
                    "Check its name in the build file, and `docker login` to its registry.",
                ) from failure  # fmt: skip
            console.say(f"{image} is not available yet: an earlier step may build it.")


def remove(run: str, seconds: float) -> None:
    """Remove the containers and volumes of a run; warn of what cannot be removed."""
    try:
        for name in _names(docker.containers_of(f"{OWNER}={run}"), seconds):
            engine.remove(docker.remove_container(name), seconds)
        if left := _names(docker.volumes_named(run), seconds):
            engine.remove(docker.remove_volumes(left), seconds)
    except Failure as failure:
        console.say(f"Warning: some containers or volumes of {run} remain: {failure.why or failure.what}")


def sweep(seconds: float) -> None:
    """Remove what killed runs on this machine left; name their steps that are still running."""
    volume = re.compile(re.escape(_here()) + r"(?P<pid>\d+)-[0-9a-f]{6}(?=-)")
    found = [volume.match(name) for name in _names(docker.volumes_named(_here()), seconds)]
    for run in sorted({one[0] for one in found if one and not pid_exists(int(one["pid"]))}):
        if running := _names(docker.running_of(f"{OWNER}={run}"), seconds):
            console.say(
                f"A pipeline was killed, and steps of it are still running: {', '.join(running)}.  "
                f"See `docker logs {running[0]}`; end it with `docker stop {running[0]}`."
            )
        else:
            remove(run, seconds)


def _here() -> str:
    """What the names of all runs on this machine begin with."""
    return f"lookit-pipeline-{platform.node()[:LONGEST_NODE]}-"


def _names(argv: tuple[str, ...], seconds: float) -> list[str]:
    """The names that one of Docker's commands lists."""
    return process.run(argv, time_limit=seconds).stdout.decode().split()


def is_own(step: ReadyStep, image: str) -> bool:
    """Whether a step runs a task of this repository, whose image is `image`."""
    plain = not step.script and not step.entrypoint
    return plain and parse(step.image).name == parse(image).name


def build_own_images(settings: Settings, images: Iterable[str]) -> None:
    """Build those of `images` that are the orchestrator's and not named by digest."""
    own = parse(settings.pipeline.orchestrator)
    for image in dict.fromkeys(parse(name) for name in images):
        if image.name == own.name and not image.digest:
            try:
                build.run(settings, _own_build(settings, image), f"{image} from this checkout")
            except Failure as failure:
                raise failure.retold(
                    next_step="Fix it, or run the steps without containers: --no-docker."
                ) from failure


def _own_build(settings: Settings, image: Reference) -> docker.Build:
    """Decide how one of the orchestrator's images is built."""
    return docker.Build(
        source=settings.root,
        file=settings.root / "Dockerfile",
        tags=[str(image)],
        target="docker" if image.tag.endswith(WITH_DOCKER) else "orchestrator",
        network=settings.build.network,
        arguments=settings.pipeline.arguments,
    )
