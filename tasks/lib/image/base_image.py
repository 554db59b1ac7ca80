"""The application's image as the base of its test image: `Dockerfile.dev` may say `FROM lookit`.

That name cannot be pulled: the application's own build gives it to the image that it has just built.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from string import Template

from tasks.lib import console, process
from tasks.lib.build_variables import BuildVariables
from tasks.lib.errors import Failure
from tasks.lib.image import build, docker, engine
from tasks.lib.image.checkout import Tree
from tasks.lib.image.digest import parsed
from tasks.lib.image.reference import DOCKER_HUB, parse
from tasks.lib.settings.model import Settings

ARG = re.compile(r"ARG\s+(\w+)=[\"']?([^\s\"']*)", re.IGNORECASE)
FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)


def of_the_application(settings: Settings, dockerfile: str) -> Sequence[str]:
    """The names by which a Dockerfile asks for the application's image; none where it is based on others.

    `test.base_name` says it; else it is a name without a registry that ends as `image.repository` does.
    """
    if settings.test.base_name:
        return [settings.test.base_name]
    own = parse(settings.image.repository)
    last = own.repository.rpartition("/")[2]
    local = {(own.registry, own.repository), (DOCKER_HUB, f"library/{last}")}
    images = {name: parsed(name) for name in bases(dockerfile, settings.build.arguments)}
    return [
        name for name, image in images.items()
        if image and not image.digest and (image.registry, image.repository) in local
    ]  # fmt: skip


def bases(dockerfile: str, arguments: Mapping[str, str]) -> list[str]:
    """The images that a Dockerfile's stages begin with, its own stages left out."""
    values: dict[str, str] = {}
    stages: set[str] = set()
    found: list[str] = []
    for line in map(str.strip, dockerfile.splitlines()):
        if (arg := ARG.match(line)) and not found:
            values[arg[1]] = arguments.get(arg[1], arg[2])
        elif start := FROM.match(line):
            name = Template(start[1]).safe_substitute(values)
            if name.lower() not in stages:
                found.append(name)
            stages.add((start[2] or "").lower())
    return found


@contextmanager
def named(settings: Settings, tree: Tree, variables: BuildVariables, names: Sequence[str]) -> Iterator[None]:
    """Give `names` to the commit's image, which is built first where the engine does not have it.

    Raises Failure where it cannot be built, or meanwhile another run took a name.
    """
    if not names:
        yield
        return
    seconds = settings.time_limits.docker
    image = str(build.ensure(settings, tree, variables))
    identifier = engine.image_id(image, seconds)
    for name in names:
        process.run(docker.tag(identifier, name), time_limit=seconds, setting="time_limits.docker")
        console.say(f"Tagged {image} as {name}, which the test image is built on.")
    yield
    if moved := [name for name in names if engine.image_id(name, seconds) != identifier]:
        raise Failure(
            f"The test image may be built on another image than {image}.",
            f"Another process changed what {' and '.join(moved)} names during the build.",
            "Run the same command again.",
        )
