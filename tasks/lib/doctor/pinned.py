"""Image names in the build files and the Dockerfile that are not pinned.

Whoever can move a tag runs code as the deployer.  A name is pinned by a digest, or by the commit that the
build itself makes the image of.  Names that this repository cannot pin are variables that the trigger sets.
"""

import re
from pathlib import Path

from tasks.lib.errors import Failure, UsageError
from tasks.lib.pipeline.build_file import Build
from tasks.lib.pipeline.reading import load

BUILD_FILES = ("cloudbuild.yaml", "cloudbuild.orchestrator.yaml")
DOCKERFILE = "Dockerfile"
PINNED = re.compile(r"@sha256:[0-9a-f]{64}$|\$\{?COMMIT_SHA\b")
VARIABLE = re.compile(r"\$(?:(?P<plain>\w+)|\{(?P<braced>\w+)\})")
BASE = re.compile(r"^ARG (?P<name>\w+)=(?P<image>\S+)$", re.MULTILINE)
FROM = re.compile(r"^FROM \$\{?(?P<name>\w+)\}?", re.MULTILINE)


def all_pinned(root: Path) -> str:
    """Check the files in `root`.

    Raises Failure where some names are not pinned; each is listed with its file.
    """
    found = [f"{name}: {image}" for name in BUILD_FILES for image in unpinned_in_build_file(root / name)]
    found += [f"{DOCKERFILE}: {image}" for image in unpinned_in_dockerfile(root / DOCKERFILE)]
    if found:
        raise Failure(
            "Images are named by tags that others can move.", "\n".join(found),
            "Pin them in the triggers' substitutions: _VERSION to a commit, others by digest.",
        )  # fmt: skip
    return "all pinned by digest"


def unpinned_in_build_file(path: Path) -> list[str]:
    """The unpinned images of a build file's steps; none where the file is missing or not valid."""
    try:
        build = load(path)
    except UsageError:  # pipeline.run reports it
        return []
    names = {_with_defaults(step.name, build) for step in build.steps}
    return sorted(name for name in names if not PINNED.search(name))


def unpinned_in_dockerfile(path: Path) -> list[str]:
    """The unpinned images that a Dockerfile uses by default."""
    text = path.read_text() if path.is_file() else ""
    images = {found["name"]: found["image"] for found in BASE.finditer(text)}
    used = {found["name"] for found in FROM.finditer(text)}
    return sorted(image for name, image in images.items() if name in used and not PINNED.search(image))


def _with_defaults(name: str, build: Build) -> str:
    """A step's image, with the file's defaults for the variables that a trigger may set."""
    return VARIABLE.sub(
        lambda found: build.substitutions.get(found["plain"] or found["braced"], found[0]), name
    )
