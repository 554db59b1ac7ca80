"""The images of Lookit's site on a real node: what the manifests name, for the commit that is deployed."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from sandbox.images import from_docker, lookit_api, making, recipes
from sandbox.images.archive import Image
from sandbox.images.recipes import Recipe
from tasks.lib import console
from tasks.lib.image import checkout

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

# What is deployed from a folder without git, such as an unpacked archive: no real commit is called so.
NO_COMMIT = "0" * 40


def images(settings: "Settings", commit: str = "", source: Path | None = None) -> list[Image]:
    """All images, made where the cache lacks them; `settings` are those of this project's checkout.

    The application's is that of `source`, a checkout of lookit-api, or the sandbox's own.

    Raises:
        Failure: one could not be made, or the commit is unknown.

    """
    others, folder = list(recipes.ALL.values()), making.folder()
    if source is None:
        own = recipes.application(repository(settings), commit_of(settings, commit))
        return making.obtain_all([own, *others], folder)
    variables = checkout.variables(settings, source, commit=commit)
    with checkout.committed(source, variables.commit_sha) as tree:
        if why := from_docker.obstacle(settings, tree):
            console.say(f"{why} The image of {source} is made on the sandbox's own base.")
            own = lookit_api.recipe(repository(settings), tree, variables.commit_sha)
            return making.obtain_all([own, *others], folder)
        name = f"{repository(settings)}:{variables.commit_sha}"
        own_image = from_docker.obtain(settings, tree, variables, name, folder / "docker")
    return [own_image, *making.obtain_all(others, folder)]


def all_recipes() -> list[Recipe]:
    """The images that the sandbox makes itself, its own application among them."""
    return [recipes.application("application", NO_COMMIT), *recipes.ALL.values()]


def repository(settings: "Settings") -> str:
    """Where the manifests say that the application's image is, in the sandbox (sandbox/overlay.py)."""
    from tasks.lib.image.reference import parse

    known = parse(settings.image.repository)
    return dataclasses.replace(known, registry=settings.sandbox.registry or known.registry).name


def commit_of(settings: "Settings", commit: str = "", source: Path | None = None) -> str:
    """The commit that the sandbox deploys: `commit`, COMMIT_SHA or git's.

    That is git's of `source`, else of this project's checkout or, without git, a made-up one.
    """
    if source:
        return checkout.variables(settings, source, commit=commit).commit_sha
    from tasks.lib import build_variables

    if known := commit or os.environ.get("COMMIT_SHA", ""):
        return known
    if not (settings.root / ".git").exists():
        return NO_COMMIT
    here = replace(settings.source, checkout=str(settings.root))
    return build_variables.commit_from_git(replace(settings, source=here), "")
