"""Pushing an image: look what the registry has, decide, push only what is missing, note the digest.

A tag named after a commit or a release is pushed once and then belongs to its content for good; the tag that
follows a branch moves.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tasks.lib import console, process, signals
from tasks.lib.background import Background
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.image import docker, engine
from tasks.lib.image.build import BUILT_FROM, LABEL, contradiction
from tasks.lib.image.checkout import CHANGED
from tasks.lib.image.credentials import docker_environment
from tasks.lib.image.reference import Reference
from tasks.lib.image.refusals import IMMUTABLE, choose_another_tag, is_immutable
from tasks.lib.image.registry import Registry, check_writable, connect
from tasks.lib.retry import Attempts
from tasks.lib.settings.model import Settings
from tasks.lib.workspace import workspace

FIRST_PAUSE = 1.0
# Docker's words about what a registry answers for good: HTTP's 4xx but for time-outs and too many requests.
REFUSED = re.compile(r"HTTP (?:status: )?4(?!08|29)\d\d\b")
FINAL = (
    "denied", "unauthorized", "forbidden", "no basic auth", "does not exist", "invalid reference", IMMUTABLE,
)  # fmt: skip


@dataclass(frozen=True)
class Remote:
    """What the registry holds under one tag; all empty where the tag is free.

    `image_id` is the image's id in Docker's engine, for an index its digest.
    """

    digest: str = ""
    image_id: str = ""
    commit: str = ""
    built_from: str = ""


@dataclass(frozen=True)
class Pushed:
    """What the next step needs to know: the image by digest."""

    image: str
    digest: str
    reference: str
    tags: list[str]
    commit: str

    def as_json(self) -> str:
        """The record as `push` writes and prints it."""
        return json.dumps(asdict(self), indent=2)


@dataclass(frozen=True)
class Plan:
    """The names to push, those to copy to in the registry, and the digest that it has already, if any."""

    push: Sequence[Reference]
    point: Sequence[Reference]
    digest: str = ""


def push(
    settings: Settings, fixed: Sequence[Reference], moving: Sequence[Reference], *, reuse: bool = False
) -> Pushed:
    """Push an image under all its names, and return its digest.

    `fixed` names never change their content; the first is the commit's, and is in the engine.  `moving` ones
    follow a branch.  `reuse` takes another build of the same commit where that has the commit's name already.
    Raises UsageError where a fixed name is taken by other content, or the image is not the commit's; Failure
    where the image was not built, or the registry is down or refuses.
    """
    main, seconds = fixed[0], settings.time_limits.docker
    check_writable(settings, main)
    built = Background(partial(engine.image_id, str(main), seconds))
    registry = connect(settings, main.registry)
    local = built.wait()
    remote = {name: look_up(registry, name, local) for name in (*fixed, *moving)}
    decided = decide(local, main.tag, remote, fixed, reuse=reuse)
    if remote[main].image_id in {"", local}:
        check_origin(main, engine.labels(str(main), seconds))
    for name in decided.push:
        push_name(settings, name)
    digest = decided.digest or registry.digest(main)
    if not digest:
        raise Failure(f"{main} was pushed, but the registry does not list it.", next_step="Push it again.")
    for name in decided.point:
        registry.copy(main.at(digest), name)
        console.say(f"Tagged {name.tag}.")
    if not decided.push and not decided.point:
        console.say(f"Nothing to push: {main.name} has {', '.join(name.tag for name in remote)} already.")
    names = [name.tag for name in (*fixed, *moving)]
    return Pushed(main.name, digest, str(main.at(digest)), names, main.tag)


def decide(
    local: str, commit: str, remote: Mapping[Reference, Remote], fixed: Sequence[Reference], *, reuse: bool
) -> Plan:
    """Decide what to push: the image with the id `local`, built from `commit`.

    `remote` is what the registry holds under each name, in the order to push; of these `fixed` never change.
    Raises UsageError where fixed names are taken by other content, all of which are listed; or the one to
    take over is not the commit's.
    """
    main = fixed[0]
    held = remote[main]
    reused = reuse and held.commit == commit
    if reused and held.built_from == CHANGED and held.image_id != local:
        raise UsageError(
            f"{main} in the registry is not the commit's image, so it is not reused.",
            f"Its label {BUILT_FROM} says: {CHANGED}.",
            "Names of commits never change their content: make another commit, build and push that.",
        )
    wanted = held.image_id if reused else local
    if taken := [name for name in fixed if remote[name].image_id not in {"", wanted}]:
        raise _taken({name: remote[name] for name in taken})
    others = [name for name in remote if name != main and remote[name].image_id != wanted]
    if held.image_id == wanted:
        return Plan(push=[], point=others, digest=held.digest)
    return Plan(push=[main], point=others)


def _taken(taken: Mapping[Reference, Remote]) -> UsageError:
    holding = [
        f"{name.tag} holds {held.digest}, built from {held.commit or 'an unknown commit'}."
        for name, held in taken.items()
    ]
    return UsageError(
        f"Release tags never change, and these hold another image: {', '.join(map(str, taken))}.",
        "\n".join(holding),
        "For another build of this commit: ./inv push --reuse.  Otherwise release a new commit or tag.",
    )


def check_origin(image: Reference, labels: Mapping[str, str]) -> None:
    """Refuse to push an image in the engine that is not what its name says: its commit, and nothing else."""
    if why := contradiction(labels, image.tag):
        raise UsageError(
            f"{image} is not the commit's image.", why,
            "Commit the changes, build without --worktree (./inv build --source CHECKOUT), and push again.",
        )  # fmt: skip


def look_up(registry: Registry, name: Reference, local: str) -> Remote:
    """What the registry holds under `name`; the commit matters only where that is not the image `local`."""
    manifest = registry.manifest(name)
    if manifest is None:
        return Remote()
    if local in {manifest.image_id, manifest.digest}:  # an engine with containerd's store has digests for ids
        return Remote(manifest.digest, local)
    labels = registry.labels(name, manifest)
    commit, built_from = labels.get(f"{LABEL}.revision", ""), labels.get(BUILT_FROM, "")
    return Remote(manifest.digest, manifest.image_id or manifest.digest, commit, built_from)


def record(pushed: Pushed, path: Path) -> None:
    """Write the record for the next step, readable by whoever runs that."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, pushed.as_json().encode() + b"\n", mode=0o644)
    except OSError as error:
        raise UsageError(
            f"The digest could not be recorded in {path}.", str(error), "Name another file with --record."
        ) from error


def push_name(settings: Settings, name: Reference) -> None:
    """Push one name, again after a failure that may pass: layers that arrived are not sent twice."""
    console.say(f"Pushing {name} …")
    attempts = Attempts(first=FIRST_PAUSE, most=settings.registry.push_attempts)
    while failure := _one_attempt(settings, name):
        pause = None if final(failure.why) else attempts.pause()
        if pause is None:
            engine.check_alive(settings.time_limits.docker, "push")
            raise refused(name, failure) from failure
        last = (failure.why or failure.what).splitlines()[-1]
        console.say(f"The push failed ({last}), trying again …")
        signals.sleep(pause)


def _one_attempt(settings: Settings, name: Reference) -> Failure | None:
    """How an attempt failed, with a login of its own: a token may run out within the attempt before."""
    with workspace() as folder, docker_environment(settings.google, name.registry, folder) as env:
        try:
            process.run(
                docker.push(str(name)), env=env,
                time_limit=settings.time_limits.image_push, setting="time_limits.image_push",
            )  # fmt: skip
        except Failure as failure:
            return failure
    return None


def final(words: str) -> bool:
    """Whether a push failed in a way that another attempt cannot help."""
    return any(sign in words.lower() for sign in FINAL) or bool(REFUSED.search(words))


def refused(name: Reference, failure: Failure) -> Failure:
    """The error for a push that did not succeed."""
    what, why = f"{name} could not be pushed.", failure.why or failure.what
    if is_immutable(why):
        return Failure(what, why, choose_another_tag(name))
    if isinstance(failure, TimedOut):
        return TimedOut(what, failure.what, failure.next_step)
    return Failure(
        what, why,
        f"Log in (`docker login {name.registry}`, or `gcloud auth application-default login`) and check that "
        f"you may write to {name.name} (roles/artifactregistry.writer); then run the same command again.",
    )  # fmt: skip
