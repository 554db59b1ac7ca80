"""The images of Lookit's site on a real node: what the manifests name, for the commit that is deployed."""

import dataclasses
import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from sandbox.images import making, recipes
from sandbox.images.archive import Image

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

# What is deployed from a folder without git, such as an unpacked archive: no real commit is called so.
NO_COMMIT = "0" * 40


def images(settings: "Settings", commit: str = "") -> list[Image]:
    """All images, made where the cache lacks them; `settings` are those of the checkout.

    Raises:
        Failure: one could not be made, or the commit is unknown.

    """
    application = recipes.application(repository(settings), commit_of(settings, commit))
    return [making.obtain(recipe, making.folder()) for recipe in (*recipes.ALL.values(), application)]


def repository(settings: "Settings") -> str:
    """Where the manifests say that the application's image is, in the sandbox (sandbox/overlay.py)."""
    from tasks.lib.image.reference import parse

    known = parse(settings.image.repository)
    return dataclasses.replace(known, registry=settings.sandbox.registry or known.registry).name


def commit_of(settings: "Settings", commit: str = "") -> str:
    """The commit that the sandbox deploys: `commit`, COMMIT_SHA, git's or, without git, a made-up one."""
    from tasks.lib import build_variables

    if known := commit or os.environ.get("COMMIT_SHA", ""):
        return known
    if not (settings.root / ".git").exists():
        return NO_COMMIT
    here = replace(settings.source, checkout=str(settings.root))
    return build_variables.commit_from_git(replace(settings, source=here), "")
