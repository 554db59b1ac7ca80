"""Promoting images between repositories or tags, and pruning those that nobody needs."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.lib import console, signals
from tasks.lib.errors import UsageError
from tasks.lib.image import registry
from tasks.lib.image.inventory import Held
from tasks.lib.image.login import is_google
from tasks.lib.image.reference import Reference

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings


@dataclass(frozen=True)
class Fate:
    """What becomes of an image, and why."""

    image: Held
    kept: bool
    reason: str


def promote(settings: "Settings", source: Reference, target: Reference, *, move: bool = False) -> str:
    """Give an image another name in the same registry, by digest, without rebuilding; returns the digest.

    Args:
        settings: how the registry is reached.
        source: by tag or digest.
        target: repository and tag.
        move: take the tag away from another image that has it.

    Raises:
        UsageError: the registries differ, or the tag belongs to another image.
        Failure: there is no such image, or the registry refuses.

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
    connected.copy(source.at(digest), target)
    return digest


def check_number(keep: int) -> None:
    """Refuse a number of images that cannot stay.

    Raises:
        UsageError: it is less than none.

    """
    if keep < 0:
        raise UsageError(f"{keep} images cannot stay.", next_step="Give --keep a number from 0 on.")


def judge(images: Sequence[Held], keep: int, used: Set[str]) -> list[Fate]:
    """Decide which images stay: the newest `keep`, and whatever is used by tag or digest.

    Args:
        images: newest first.
        keep: how many of the newest stay in any case.
        used: tags and digests.

    """
    fates = []
    for place, image in enumerate(images):
        users = sorted({image.digest, *image.tags} & used)
        if users:
            fates.append(Fate(image, True, "in use"))
        elif place < keep:
            fates.append(Fate(image, True, f"among the newest {keep}"))
        else:
            fates.append(Fate(image, False, "older, and not in use"))
    return fates


def rows(fates: Sequence[Fate]) -> list[list[console.Cell]]:
    """The decision for people."""
    return [
        [
            ", ".join(fate.image.tags),
            console.Styled("yes", "green") if fate.kept else console.Styled("no", "red"),
            fate.reason,
        ]
        for fate in fates
    ]


def delete(settings: "Settings", repository: Reference, fates: Sequence[Fate]) -> list[str]:
    """Delete the images that are not kept, with all their tags; returns their digests.

    Raises:
        Failure: the registry refuses; those before are gone.

    """
    registry.check_writable(settings, repository)
    connected = registry.connect(settings, repository.registry)
    gone = []
    for fate in fates:
        if not fate.kept:
            if is_google(
                repository.registry
            ):  # it deletes no image that has a tag; others cannot delete tags
                for tag in fate.image.tags:
                    connected.delete_tag(repository.tagged(tag))
            connected.delete(repository.at(fate.image.digest))
            gone.append(fate.image.digest)
    return gone


def agreed(question: str) -> bool:
    """Ask on the terminal; anything but yes is no.

    Raises:
        UsageError: there is no terminal to ask on.

    """
    import sys

    if not sys.stdin.isatty():
        raise UsageError("Nobody can be asked: this is no terminal.", question, "Say --yes if that is meant.")
    console.say(f"{question} [y/N]")
    with signals.raised():
        answer = sys.stdin.readline()
    return answer.strip().lower() in {"y", "yes"}
