"""Deleting old images that nothing needs from a registry."""

import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

from tasks.lib import console, signals
from tasks.lib.errors import Failure, UsageError
from tasks.lib.image import inventory, registry
from tasks.lib.image.credentials import is_google
from tasks.lib.image.inventory import Held, called
from tasks.lib.image.reference import DIGEST, Reference
from tasks.lib.settings.model import Settings

# Tools that build without a date write 1970, 1980 or year 1; there was no image before this.
FIRST_IMAGES = "2013"
# How signatures and attestations are tagged, by cosign and where a registry keeps no referrers.
ATTACHED = re.compile(r"(sha256)-([0-9a-f]{64})(\.\w+)?")
COLUMNS = ("image", "kept", "why")


@dataclass(frozen=True)
class Fate:
    """What becomes of an image, and why."""

    image: Held
    kept: bool
    reason: str


def prune(
    settings: Settings,
    repository: Reference,
    keep: int,
    in_use: Callable[[], Set[str]],
    agree: Callable[[str], bool],
) -> None:
    """Delete old images that nothing needs, but for the `keep` newest, after showing which and asking.

    `in_use` and the registry are asked again after the answer: what changed meanwhile is kept.
    """
    used = in_use()
    shown = judge(inventory.held(settings, repository, used), keep, used)
    console.table(COLUMNS, rows(shown))
    going = sum(not fate.kept for fate in shown)
    if not going or not agree(f"Delete {going} image(s) of {repository.name} for good?"):
        return
    used = in_use()
    fates = confirmed(shown, inventory.held(settings, repository, used), keep, used)
    if changed := saved(shown, fates):
        console.table(COLUMNS, rows(changed), "Changed since, and kept:")
    delete(settings, repository, fates)
    console.say(f"Deleted {sum(not fate.kept for fate in fates)} image(s).")


def confirmed(shown: Sequence[Fate], images: Sequence[Held], keep: int, used: Set[str]) -> list[Fate]:
    """Decide again about `images` as they are now: nothing goes that was not shown to go, just as it is."""
    agreed_on = {fate.image.digest: fate.image for fate in shown if not fate.kept}
    unseen = {image.digest for image in images if agreed_on.get(image.digest) != image}
    return judge(images, keep, used, unseen)


def saved(shown: Sequence[Fate], fates: Sequence[Fate]) -> list[Fate]:
    """Those of `fates` that are kept, although they were shown to go."""
    went = {fate.image.digest for fate in shown if not fate.kept}
    return [fate for fate in fates if fate.kept and fate.image.digest in went]


def check_number(keep: int) -> None:
    """Refuse a negative number of images to keep."""
    if keep < 0:
        raise UsageError("--keep must be 0 or more.", f"It is {keep}.")


def judge(images: Sequence[Held], keep: int, used: Set[str], unseen: Set[str] = frozenset()) -> list[Fate]:
    """Decide which of `images` (newest first) to keep: the newest, those in use, and parts of those.

    `used` are tags and digests.  The digests in `unseen` are kept too: the deletion of those was not shown.
    """
    newest = {image.digest for image in [image for image in images if _is_dated(image)][:keep]}
    own = {image.digest: _reason(image, newest, used, unseen) for image in images}
    kept = [image for image in images if own[image.digest]]
    listed = {part: f"part of {called(image)}" for image in kept for part in image.parts}

    def reason(image: Held) -> str:
        attached = [f"attached to {one}" for one in _subjects(image) if own.get(one) or one in listed]
        return own[image.digest] or listed.get(image.digest) or "".join(attached[:1])

    reasons = [(image, reason(image)) for image in images]
    return [Fate(image, bool(why), why or "older, and not in use") for image, why in reasons]


def _reason(image: Held, newest: Set[str], used: Set[str], unseen: Set[str]) -> str:
    """Why an image is kept on its own account; empty where it need not be."""
    if {image.digest, *image.tags, *image.parts} & used:
        return "in use"
    if not _is_dated(image):
        return "of unknown age"
    if image.digest in newest:
        return f"among the newest {len(newest)}"
    return "not as it was shown" if image.digest in unseen else ""


def _is_dated(image: Held) -> bool:
    return image.created >= FIRST_IMAGES


def _subjects(image: Held) -> list[str]:
    """The digests of the images that a signature or an attestation belongs to, from its tags."""
    return [f"{match[1]}:{match[2]}" for tag in image.tags if (match := ATTACHED.fullmatch(tag))]


def rows(fates: Sequence[Fate]) -> list[list[console.Cell]]:
    """The decision for people."""
    yes, no = console.Styled("yes", "green"), console.Styled("no", "red")
    return [[called(fate.image), yes if fate.kept else no, fate.reason] for fate in fates]


def delete(settings: Settings, repository: Reference, fates: Sequence[Fate]) -> list[str]:
    """Delete the images that are not kept, with their tags and the parts that no other image has.

    `fates` are those of all images in the repository.  Returns the digests of what was deleted, parts too.
    Raises Failure where the registry refuses; what is gone already is told.
    """
    registry.check_writable(settings, repository)
    connected = registry.connect(settings, repository.registry)
    gone: list[str] = []
    try:
        for digest, tags in to_delete(fates):
            # Google's deletes no image that has a tag; others cannot delete tags.
            for tag in tags if is_google(repository.registry) else []:
                connected.delete(repository.tagged(tag))
                gone.append(tag)
            connected.delete(repository.at(digest))
            gone.append(digest)
    except Failure:
        console.say(f"Deleted before that: {', '.join(gone) or 'nothing'}.")
        raise
    return [name for name in gone if DIGEST.fullmatch(name)]


def to_delete(fates: Sequence[Fate]) -> Iterator[tuple[str, list[str]]]:
    """The digests to delete, each with its tags: an index before what it lists, which Google asks for."""
    going = [fate.image for fate in fates if not fate.kept]
    for image in sorted(going, key=lambda image: len(image.parts), reverse=True):
        yield image.digest, image.tags
    own = {
        digest for fate in fates for digest in (fate.image.digest, *(fate.image.parts if fate.kept else []))
    }
    for digest in dict.fromkeys(part for image in going for part in image.parts):
        if digest not in own:
            yield digest, []


def agreed(question: str) -> bool:
    """Ask on the terminal; anything but yes is no, and without a terminal it is a UsageError."""
    import sys

    if not sys.stdin.isatty():
        raise UsageError("Cannot prompt: stdin is not a terminal.", question, "Say --yes if that is meant.")
    console.say(f"{question} [y/N]")
    with signals.raised():
        answer = sys.stdin.readline()
    return answer.strip().lower() in {"y", "yes"}
