"""From tags to digests: a deploy names its image by digest, because a tag may move meanwhile.

It also shows, before anything changes, that the registry holds the image at all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tasks.lib.errors import Failure, UsageError
from tasks.lib.image.reference import Reference, parse
from tasks.lib.render.pods import containers_of, pod_specs
from tasks.lib.settings.model import Settings

Json = Mapping[str, Any]


def pin(settings: Settings, objects: Iterable[Json]) -> dict[str, str]:
    """Name the application's image by digest in `objects`, which are changed in place.

    Images of other repositories are left alone: the tree pins those itself.  Returns the digest of each image
    that was found, by its name with the tag. Raises Failure where the registry does not hold one of the
    images, or has it for other platforms than the nodes' only, or cannot be reached.
    """
    from tasks.lib.image.registry import connect, no_such_image

    if not settings.registry.resolve:
        return {}
    registry = connect(settings, parse(settings.image.repository).registry)

    def resolve(image: Reference) -> str:
        manifest = registry.manifest(image)
        if manifest is None:
            raise no_such_image(image).retold(
                next_step="Build and push it (./inv build, ./inv push), or see what there is: "
                f"./inv images.list --repository {image.name}"
            )
        built_for, wanted = registry.platforms(image, manifest), settings.build.platform
        if wanted and built_for and not any(_runs_on(one, wanted) for one in built_for):
            raise _unfit(image, built_for, wanted)
        return manifest.digest

    return pin_with(settings.image.repository, objects, resolve)


def missing(settings: Settings, objects: Iterable[Json]) -> list[str]:
    """The application's images in `objects` that the registry does not hold any more."""
    from tasks.lib.image.registry import connect

    if not settings.registry.resolve:
        return []
    own = parse(settings.image.repository)
    named = {image for container in containers(objects) if (image := parsed(container.get("image")))}
    registry = connect(settings, own.registry)
    return sorted(str(image) for image in named if image.name == own.name and not registry.digest(image))


def pin_with(repository: str, objects: Iterable[Json], resolve: Callable[[Reference], str]) -> dict[str, str]:
    """The same, with `resolve` answering for the registry; each image is asked for once, by digest or tag."""
    own = parse(repository).name
    found: dict[str, str] = {}
    for container in containers(objects):
        image = parsed(container.get("image"))
        if image is None or image.name != own:
            continue
        if str(image) not in found:
            found[str(image)] = resolve(image)
        if not image.digest:
            container["image"] = f"{container['image']}@{found[str(image)]}"
    return found


def containers(objects: Iterable[Json]) -> Iterator[dict[str, Any]]:
    """Every container, init containers too, of every pod or pod template in `objects`."""
    return (one for thing in objects for spec in pod_specs(thing) for _, one in containers_of(spec))


def parsed(image: object) -> Reference | None:
    """An image's name, parsed; None where it is not one."""
    try:
        return parse(str(image))
    except UsageError:
        return None


def _runs_on(platform: str, wanted: str) -> bool:
    """Whether what was built for one platform runs on another; a variant counts where both name one."""
    return all(one == other for one, other in zip(platform.split("/"), wanted.split("/"), strict=False))


def _unfit(image: Reference, built_for: list[str], wanted: str) -> Failure:
    return Failure(
        f"{image} has no build for {wanted}, so no node could run it.",
        f"It was built for {', '.join(built_for)}; build.platform in invoke.yaml says what the nodes are.",
        f"Build it for {wanted} and push it: ./inv build --platform {wanted}, then ./inv push",
    )
