"""The checkout that an image is built from: which folder, which commit, and whether it holds what it says."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tasks.lib import build_variables, console, process
from tasks.lib.build_variables import git
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.filesystem import real

if TYPE_CHECKING:
    from tasks.lib.build_variables import BuildVariables
    from tasks.lib.settings.model import Settings

GIT_SECONDS = 20


@dataclass(frozen=True)
class Checkout:
    """What git says about the folder that is built; all empty where it is no checkout."""

    head: str = ""
    committed: str = ""  # ISO 8601, in UTC
    changed: Sequence[str] = ()


def folder(settings: "Settings", source: str, here: Path) -> Path:
    """The checkout that a task means: the option's (from `here`), else the settings', else `here`."""
    if source:
        return real(here / source)
    if settings.source.checkout:
        return real(settings.root / settings.source.checkout)
    return here


def variables(
    settings: "Settings", source: Path, *, commit: str = "", tag: str = "", branch: str = ""
) -> "BuildVariables":
    """The build variables of `source`: options, else Cloud Build's variables, else what git says.

    Raises:
        UsageError: there is no such folder, or at least one value cannot be used; all of them are listed.
        Failure: nobody named the commit and `source` is no checkout.

    """
    if not source.is_dir():
        raise UsageError(
            f"There is no folder {source}.", next_step="Name a checkout of the application with --source."
        )
    known = branch or os.environ.get("BRANCH_NAME") or branch_of(source)
    here = replace(settings, source=replace(settings.source, checkout=str(source)))
    return build_variables.collect(here, known, commit, tag, os.environ)


def branch_of(source: Path) -> str:
    """The branch a checkout is on; `detached` where it is on none."""
    try:
        done = process.run((*git(source), "symbolic-ref", "HEAD"), time_limit=GIT_SECONDS)
    except Failure:
        return "detached"
    return done.stdout.decode(errors="replace").strip().removeprefix("refs/heads/")


def observe(source: Path) -> Checkout:
    """Ask git about `source`; a folder that is no checkout (an archive, say) is no fault."""
    ask = git(source)
    try:
        top = process.run((*ask, "rev-parse", "--show-toplevel"), time_limit=GIT_SECONDS)
        if Path(os.fsdecode(top.stdout.strip())).resolve() != source.resolve():
            return Checkout()
        shown = process.run(
            (*ask, "log", "-1", "--format=%H %cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"),
            time_limit=GIT_SECONDS,
            env={"TZ": "UTC"},
        )
        status = process.run((*ask, "status", "--porcelain"), time_limit=GIT_SECONDS)
    except TimedOut:
        raise
    except Failure:
        return Checkout()
    head, _, committed = shown.stdout.decode().strip().partition(" ")
    return Checkout(head, committed, status.stdout.decode(errors="replace").splitlines())


def check(source: Path, file: str, checkout: Checkout, commit: str) -> None:
    """Refuse to build something else than what was asked for; warn of changes that no commit holds.

    Raises:
        UsageError: the folder or the Dockerfile is missing, or the checkout stands on another commit.

    """
    if not (source / file).is_file():
        kind = f"has no {file}" if source.is_dir() else "is no folder"
        raise UsageError(
            f"There is nothing to build: {source} {kind}.",
            next_step="Name a checkout of the application with --source, and its Dockerfile with --file.",
        )
    if checkout.head and checkout.head != commit:
        raise UsageError(
            f"The checkout {source} stands on {checkout.head}, not on {commit}.",
            "Its image would be named after a commit that it does not hold.",
            shlex.join(("git", "-C", str(source), "checkout", commit)),
        )
    if checkout.changed:
        console.say(
            f"Warning: {source} has {len(checkout.changed)} uncommitted change(s), which go into the image: "
            f"{', '.join(line[3:] for line in checkout.changed[:5])}"
        )
