"""This repository's own image: which steps run it, and building it from this checkout."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasks.lib import console, process
from tasks.lib.errors import Failure
from tasks.lib.image import docker, engine
from tasks.lib.image.reference import Reference, parse
from tasks.lib.pipeline.steps import ReadyStep

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

# Tags that end so are the stage with Docker's client; all others the one without.
WITH_DOCKER = "-docker"


def is_own(step: ReadyStep, image: str) -> bool:
    """Whether a step runs a task of this repository, whose image is `image`."""
    plain = not step.script and not step.entrypoint
    return plain and parse(step.image).name == parse(image).name


def build_own_images(settings: "Settings", images: Iterable[str]) -> None:
    """Build those of `images` that are the orchestrator's and not named by digest.

    Raises:
        Failure: one cannot be built; Docker's output is above.

    """
    own = parse(settings.pipeline.orchestrator)
    for image in dict.fromkeys(parse(name) for name in images):
        if image.name == own.name and not image.digest:
            build(settings, image)


def build(settings: "Settings", image: Reference) -> None:
    """Build one of the orchestrator's images.

    Raises:
        Failure: it cannot be built; Docker's output is above.

    """
    console.heading(f"Image {image} from this checkout")
    command = docker.build(plan(settings, image), engine.builder(settings.time_limits.docker))
    code = process.stream(
        command.argv, env=command.env, time_limit=settings.time_limits.image_build, to_stderr=True,
        setting="time_limits.image_build",
    )  # fmt: skip
    if code:
        raise Failure(
            f"This repository's own image could not be built: docker exited with {code}.",
            "Its output is above.", "Fix it, or run the steps without containers: --no-docker.",
        )  # fmt: skip


def plan(settings: "Settings", image: Reference) -> docker.Build:
    """Decide how one of the orchestrator's images is built."""
    return docker.Build(
        source=settings.root,
        file=settings.root / "Dockerfile",
        tags=[str(image)],
        target="docker" if image.tag.endswith(WITH_DOCKER) else "orchestrator",
        network=settings.build.network,
        arguments=settings.pipeline.arguments,
    )
