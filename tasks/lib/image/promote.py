"""Promoting images between repositories or tags of one registry, by digest, without rebuilding them."""

from tasks.lib import console
from tasks.lib.errors import Failure, UsageError
from tasks.lib.image import registry
from tasks.lib.image.build import contradiction
from tasks.lib.image.reference import DIGEST, Reference, parse
from tasks.lib.settings.model import Settings


def named(home: str, image: str, to: str, tag: str) -> tuple[Reference, Reference]:
    """Source and target of a promotion: `image` (a tag or digest) of `home`, as `tag` of `to`."""
    if not image:
        raise UsageError("No image was named.", next_step="Say which: ./inv images.promote --image COMMIT …")
    if DIGEST.fullmatch(image) and not tag:
        raise UsageError("A digest has no tag to keep.", next_step="Name the new tag with --as.")
    source = parse(f"{home}@{image}" if DIGEST.fullmatch(image) else f"{home}:{image}")
    return source, parse(f"{to}:{tag or source.tag}")


def promote(settings: Settings, source: Reference, target: Reference, *, move: bool = False) -> str:
    """Give an image another name; returns the digest.  `move` takes the tag away from another image.

    Raises UsageError where the registries differ, the tag belongs to another image, or the image is not what
    it says; Failure where there is no such image, the tag was changed meanwhile, or the registry refuses.
    """
    registry.check_writable(settings, target)
    if source.registry != target.registry:
        raise UsageError(
            f"{source.registry} and {target.registry} are two registries.",
            "An image is promoted within one: nothing is downloaded or rebuilt.",
            "Push it to the other registry with `docker push`.",
        )
    connected = registry.connect(settings, source.registry)
    digest = connected.digest(source)
    if not digest:
        raise registry.no_such_image(source)
    present = connected.digest(target)
    if present == digest:
        console.say(f"{target} is this image already.")
        return digest
    if present and not move:
        raise UsageError(
            f"{target} is another image already: {present}.", f"{source} is {digest}.",
            "Choose another tag with --as, or say --move if this tag is meant to move.",
        )  # fmt: skip
    _check_origin(connected, source.at(digest), target)
    if source.repository != target.repository:  # layers may take minutes
        connected.copy(source.at(digest), target.at(digest))
    if (now := connected.digest(target)) != present:
        raise Failure(
            f"{target} was changed meanwhile and is left as it is: {now or 'the tag is gone'}.",
            f"It was {present or 'free'} when this promotion began.",
            f"See what it is now: ./inv images.list --repository {target.name}, then promote again.",
        )
    connected.copy(source.at(digest), target)
    return digest


def _check_origin(connected: registry.Registry, source: Reference, target: Reference) -> None:
    """Refuse what is not what its new tag says: an image of no commit, or of another one."""
    manifest = connected.manifest(source)
    if manifest and (why := contradiction(connected.labels(source, manifest), target.tag)):
        raise UsageError(
            f"{source} is not promoted to {target}.", why,
            "Promote an image of the commit itself: ./inv build and ./inv push make it.",
        )  # fmt: skip
