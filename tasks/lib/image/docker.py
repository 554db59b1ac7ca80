"""Docker's commands as values: functions return the argv of one call, and run nothing."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Builder(Enum):
    """What `docker build` builds with."""

    BUILDX = "BuildKit (buildx)"
    INTEGRATED = "BuildKit"  # in clients before 23, which carry it themselves
    CLASSIC = "the classic builder"


@dataclass(frozen=True)
class Command:
    """A program's arguments and the variables that it needs besides this process's own."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Build:
    """Everything about one `docker build`."""

    source: Path
    file: Path
    tags: Sequence[str]
    target: str = ""
    platform: str = ""
    network: str = ""
    cache_from: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)  # BuildKit's only
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything about one `docker run`."""

    image: str
    name: str
    command: Sequence[str] = ()
    entrypoint: str = ""
    network: str = ""
    alias: str = ""
    hostname: str = ""
    workdir: str = ""
    user: str = ""
    pid: str = ""
    environment: Sequence[str] = ()
    mounts: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    detached: bool = False


def versions() -> tuple[str, ...]:
    """Ask for the versions of client and engine; fails where no engine answers."""
    return ("docker", "version", "--format", "{{.Client.Version}} {{.Server.Version}}")


def buildx_version() -> tuple[str, ...]:
    """Ask whether the buildx component is installed: exit code 0 if so."""
    return ("docker", "buildx", "version")


def builder(versions_answer: str, *, buildx: bool) -> Builder:
    """The best builder that a client and an engine of these versions have."""
    if buildx:
        return Builder.BUILDX
    client, _, server = versions_answer.strip().partition(" ")
    if _version(client) < (23, 0) and _version(server) >= (18, 9):
        return Builder.INTEGRATED
    return Builder.CLASSIC


def build(wanted: Build, with_: Builder) -> Command:
    """Build an image into the engine's own store."""
    front = {
        Builder.BUILDX: ("docker", "buildx", "build", "--load"),
        Builder.INTEGRATED: ("docker", "build"),
        Builder.CLASSIC: ("docker", "build", "--force-rm"),  # else a failed step's container stays
    }[with_]
    arguments = dict(wanted.arguments)
    if wanted.cache_from and with_ is not Builder.CLASSIC:
        arguments["BUILDKIT_INLINE_CACHE"] = "1"
    argv = (
        *front,
        *("--file", str(wanted.file)),
        *_option("--target", wanted.target),
        *_option("--platform", wanted.platform),
        *_option("--network", wanted.network),
        *_option("--cache-from", wanted.cache_from),
        *_each("--build-arg", _pairs(arguments)),
        *_each("--secret", [_fields(f"id={name}", f"src={file}") for name, file in wanted.secrets.items()]),
        *_each("--label", _pairs(wanted.labels)),
        *_each("--tag", wanted.tags),
        str(wanted.source),
    )
    if with_ is Builder.BUILDX:
        return Command(argv)
    return Command(argv, {"DOCKER_BUILDKIT": "1" if with_ is Builder.INTEGRATED else "0"})


def run(wanted: Run) -> tuple[str, ...]:
    """Run a container; in the foreground it is removed when it ends."""
    return (
        "docker", "run", *(("--detach",) if wanted.detached else ("--rm", "--init")),
        *("--name", wanted.name),
        *_option("--network", wanted.network),
        *_option("--network-alias", wanted.alias),
        *_option("--hostname", wanted.hostname),
        *_option("--workdir", wanted.workdir),
        *_option("--user", wanted.user),
        *_option("--pid", wanted.pid),
        *_option("--entrypoint", wanted.entrypoint),
        *_each("--env", wanted.environment),
        *_each("--mount", wanted.mounts),
        *_each("--label", _pairs(wanted.labels)),
        wanted.image,
        *wanted.command,
    )  # fmt: skip


def create(image: str, name: str, mounts: Sequence[str], labels: Mapping[str, str]) -> tuple[str, ...]:
    """Make a container without starting it."""
    options = (*_each("--mount", mounts), *_each("--label", _pairs(labels)))
    return ("docker", "create", "--name", name, "--entrypoint", "true", *options, image)


def copy_into(source: str, container: str, target: str) -> tuple[str, ...]:
    """Copy a file, or with `FOLDER/.` what a folder holds, into a container or its volumes."""
    return ("docker", "cp", source, f"{container}:{target}")


def copy_out(container: str, source: str, target: str) -> tuple[str, ...]:
    """Copy a file or folder, or with `FOLDER/.` what it holds, out of a container or its volumes."""
    return ("docker", "cp", f"{container}:{source}", target)


def containers_of(label: str) -> tuple[str, ...]:
    """List the names of all containers with a label, one a line."""
    return ("docker", "ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}")


def running_of(label: str) -> tuple[str, ...]:
    """List the names of the containers with a label that run, one a line."""
    return ("docker", "ps", "--filter", f"label={label}", "--format", "{{.Names}}")


def volumes_named(beginning: str) -> tuple[str, ...]:
    """List the volumes whose names hold `beginning`, one a line."""
    return ("docker", "volume", "ls", "--filter", f"name={beginning}", "--format", "{{.Name}}")


def remove_volumes(names: Sequence[str]) -> tuple[str, ...]:
    """Remove volumes that no container uses."""
    return ("docker", "volume", "rm", *names)


def execute(container: str, *command: str) -> tuple[str, ...]:
    """Run a command in a container that is running."""
    return ("docker", "exec", container, *command)


def running(container: str) -> tuple[str, ...]:
    """Print `true` while the container runs."""
    return ("docker", "inspect", "--type", "container", "--format", "{{.State.Running}}", container)


def logs(container: str) -> tuple[str, ...]:
    """Print the last lines a container wrote."""
    return ("docker", "logs", "--tail", "20", container)


def stop(name: str, grace: float) -> tuple[str, ...]:
    """Ask a container to end, and kill it after so many seconds."""
    return ("docker", "stop", "-t", f"{grace:.0f}", name)  # as all clients call it


def remove_container(name: str) -> tuple[str, ...]:
    """Stop and remove a container and its anonymous volumes; one that is gone is no error."""
    return ("docker", "rm", "--force", "--volumes", name)


def create_network(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Make a network of one's own."""
    return ("docker", "network", "create", *_each("--label", _pairs(labels)), name)


def remove_network(name: str) -> tuple[str, ...]:
    """Remove a network that no container uses."""
    return ("docker", "network", "rm", name)


def labelled(kind: str, *labels: str) -> tuple[str, ...]:
    """List containers or networks (`kind`) that carry the first label: name and labels, one a line."""
    listing = ("docker", "ps", "--all") if kind == "container" else ("docker", "network", "ls")
    name = "{{.Names}}" if kind == "container" else "{{.Name}}"
    values = "".join(f' {{{{.Label "{label}"}}}}' for label in labels)
    return (*listing, "--filter", f"label={labels[0]}", "--format", f"{name}{values}")


def image_id(image: str) -> tuple[str, ...]:
    """Print an image's id, which is the digest of its configuration."""
    return ("docker", "image", "inspect", "--format", "{{.Id}}", image)


def image_labels(image: str) -> tuple[str, ...]:
    """Print an image's labels as JSON; `null` where it has none."""
    return ("docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image)


def tag(image: str, new: str) -> tuple[str, ...]:
    """Give an image one more name."""
    return ("docker", "tag", image, new)


def save(image: str, file: Path) -> tuple[str, ...]:
    """Write an image with its layers to an archive."""
    return ("docker", "image", "save", "--output", str(file), image)


def push(image: str) -> tuple[str, ...]:
    """Push one name of an image to its registry."""
    return ("docker", "push", "--quiet", image)


def pull(image: str) -> tuple[str, ...]:
    """Fetch an image from its registry."""
    return ("docker", "pull", "--quiet", image)


def _pairs(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def _fields(*fields: str) -> str:
    """One line of CSV, as Docker reads options of several parts."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _each(option: str, values: Sequence[str]) -> tuple[str, ...]:
    return tuple(part for value in values for part in (option, value))


def _option(option: str, value: str) -> tuple[str, ...]:
    return (option, value) if value else ()


def _version(text: str) -> tuple[int, int]:
    """Major and minor of a version such as `20.10.24+dfsg1`; (0, 0) where it has none."""
    numbers = text.split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if all(n.isdigit() for n in numbers) and numbers[1:] else (0, 0)
