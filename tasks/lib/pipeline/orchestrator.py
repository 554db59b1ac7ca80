"""This repository's own image, built from this checkout, so that a pipeline here runs what is here."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasks.lib import console, process
from tasks.lib.errors import Failure
from tasks.lib.image import docker, engine
from tasks.lib.image.reference import Reference, parse

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

# Tags that end so are the stage with Docker's client; all others the one without.
WITH_DOCKER = "-docker"


def build_own_images(settings: "Settings", images: Iterable[str]) -> None:
    """Build those of `images` that are the orchestrator's; one that is named by digest is that very image.

    Raises:
        Failure: one cannot be built; the builder's own words are above.

    """
    own = parse(settings.pipeline.orchestrator)
    for image in dict.fromkeys(parse(name) for name in images):
        if image.name == own.name and not image.digest:
            build(settings, image)


def build(settings: "Settings", image: Reference) -> None:
    """Build one of the orchestrator's images.

    Raises:
        Failure: it cannot be built; the builder's own words are above.

    """
    console.heading(f"Image {image} from this checkout")
    command = docker.build(plan(settings, image), engine.builder(settings.time_limits.docker))
    code = process.stream(
        command.argv,
        env=command.env,
        time_limit=settings.time_limits.image_build,
        to_stderr=True,
        setting="time_limits.image_build",
    )
    if code:
        raise Failure(
            f"This repository's own image could not be built: docker exited with {code}.",
            "The builder's own words are above.", "Or run the steps without containers: --no-docker.",
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
