"""This repository's own image: which steps run it, and building it from this checkout."""

from collections.abc import Iterable

from tasks.lib.errors import Failure
from tasks.lib.image import build, docker
from tasks.lib.image.reference import Reference, parse
from tasks.lib.pipeline.steps import ReadyStep
from tasks.lib.settings.model import Settings

# Tags that end so are the stage with Docker's client; all others the one without.
WITH_DOCKER = "-docker"


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
                build.run(settings, plan(settings, image), f"{image} from this checkout")
            except Failure as failure:
                raise failure.retold(
                    next_step="Fix it, or run the steps without containers: --no-docker."
                ) from failure


def plan(settings: Settings, image: Reference) -> docker.Build:
    """Decide how one of the orchestrator's images is built."""
    return docker.Build(
        source=settings.root,
        file=settings.root / "Dockerfile",
        tags=[str(image)],
        target="docker" if image.tag.endswith(WITH_DOCKER) else "orchestrator",
        network=settings.build.network,
        arguments=settings.pipeline.arguments,
    )
