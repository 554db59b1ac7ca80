"""Names of images that may mean another image tomorrow: in the build files and the Dockerfile.

Who can move such a name runs code as the deployer.  A name is pinned by its digest, or by the commit that the
build itself made the image of; what this repository cannot pin for others is the trigger's to pin.
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


def nothing_floats(root: Path) -> str:
    """Look at the files in `root`.

    Raises:
        Failure: some names float; each is listed with its file.

    """
    found = [f"{name}: {image}" for name in BUILD_FILES for image in in_build_file(root / name)]
    found += [f"{DOCKERFILE}: {image}" for image in in_dockerfile(root / DOCKERFILE)]
    if found:
        raise Failure(
            "Images are named by tags that others can move.", "\n".join(found),
            "Pin them in the triggers' substitutions: _VERSION to a commit, others by digest.",
        )  # fmt: skip
    return "each by digest"


def in_build_file(path: Path) -> list[str]:
    """The images of a build file's steps that float; a file that is not there, or is refused, has none."""
    try:
        build = load(path)
    except UsageError:  # its own task says what is wrong with it
        return []
    names = {_filled(step.name, build) for step in build.steps}
    return sorted(name for name in names if not PINNED.search(name))


def in_dockerfile(path: Path) -> list[str]:
    """The images that a Dockerfile is built on by default and that float."""
    text = path.read_text() if path.is_file() else ""
    images = {found["name"]: found["image"] for found in BASE.finditer(text)}
    used = {found["name"] for found in FROM.finditer(text)}
    return sorted(image for name, image in images.items() if name in used and not PINNED.search(image))


def _filled(name: str, build: Build) -> str:
    """A step's image with the file's own defaults for what the trigger may set."""
    return VARIABLE.sub(
        lambda found: build.substitutions.get(found["plain"] or found["braced"], found[0]), name
    )
