"""What a repository holds: its images, newest first, each with all its tags."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from tasks.lib.background import side_by_side
from tasks.lib.image.build import LABEL
from tasks.lib.image.reference import DIGEST, Reference
from tasks.lib.image.registry import Registry, connect, labels_of
from tasks.lib.settings.model import Settings

REQUESTS_AT_ONCE = 8


@dataclass(frozen=True)
class Held:
    """One image in the registry; `created` is an ISO 8601 time, `size` the bytes of its compressed layers.

    An index is told as the first image that it lists; `parts` are the digests of everything below it.
    """

    digest: str
    tags: list[str]
    created: str
    commit: str
    size: int
    parts: list[str] = field(default_factory=list)


def held(settings: Settings, repository: Reference, used: Iterable[str] = ()) -> list[Held]:
    """The images of a repository, newest first: those with a tag, and others whose digests are `used`."""
    registry = connect(settings, repository.registry)
    tags = registry.tags(repository)
    digests = side_by_side(lambda t: registry.digest(repository.tagged(t)), tags, REQUESTS_AT_ONCE)
    by_digest: dict[str, list[str]] = {name: [] for name in used if DIGEST.fullmatch(name)}
    for tag, digest in zip(tags, digests, strict=True):
        by_digest.setdefault(digest, []).append(tag)
    by_digest.pop("", None)  # vanished meanwhile
    found = side_by_side(
        lambda d: _describe(registry, repository.at(d), sorted(by_digest[d])), by_digest, REQUESTS_AT_ONCE
    )
    present = [image for image in found if image]
    return sorted(present, key=lambda image: (image.created, image.digest), reverse=True)


def _describe(registry: Registry, image: Reference, tags: list[str]) -> Held | None:
    manifest = registry.manifest(image)
    if manifest is None:
        return None
    one = registry.first(image, manifest) or manifest
    config = registry.configuration(image, one)
    labels = labels_of(config)
    size = sum(layer["size"] for layer in one.content.get("layers", []))
    commit, parts_of_it = labels.get(f"{LABEL}.revision", ""), registry.parts(image, manifest)
    return Held(image.digest, tags, config.get("created") or "", commit, size, parts_of_it)


def called(image: Held) -> str:
    """An image's tags, or its digest where it has none."""
    return ", ".join(image.tags) or image.digest


def as_json(images: Sequence[Held]) -> str:
    """The images for scripts."""
    return json.dumps([asdict(image) for image in images], indent=2)


def rows(images: Sequence[Held]) -> list[list[str]]:
    """The images for people: tags, when, commit, size, digest."""
    return [
        [
            called(image), image.created[:16].replace("T", " "), image.commit[:7],
            f"{image.size / 1e6:.0f} MB", image.digest.removeprefix("sha256:")[:12],
        ]
        for image in images
    ]  # fmt: skip
