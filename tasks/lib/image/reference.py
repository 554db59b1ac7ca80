"""Names of images: `registry/repository:tag@digest`, taken apart and put together.

Docker's short names are spelled out: `postgres:15` is `docker.io/library/postgres:15`.
"""

import re
from dataclasses import dataclass, replace

from tasks.lib.errors import UsageError

DOCKER_HUB = "docker.io"
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
REGISTRY = re.compile(rf"({LABEL}(\.{LABEL})*|\[[0-9A-Fa-f:]+\])(:(?P<port>[0-9]{{1,5}}))?")
HIGHEST_PORT = 65535
REPOSITORY = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, order=True)
class Reference:
    """One image, by its tag, its digest or both; with neither it names the repository."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def identifier(self) -> str:
        """What the registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def tagged(self, tag: str) -> "Reference":
        """The same repository's image under `tag`."""
        return replace(self, tag=tag, digest="")

    def at(self, digest: str) -> "Reference":
        """The same repository's image with `digest`."""
        return replace(self, tag="", digest=digest)


def parse(text: str) -> Reference:
    """Take an image's name apart; a UsageError where it is not one."""
    rest, _, digest = text.partition("@")
    head, slash, tail = rest.partition("/")
    has_registry = slash and ("." in head or ":" in head or head == "localhost")
    registry, path = (head, tail) if has_registry else (DOCKER_HUB, rest)
    repository, colon, tag = path.partition(":")
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    well_formed = (
        _is_registry(registry)
        and REPOSITORY.fullmatch(repository)
        and (not colon or TAG.fullmatch(tag))
        and ("@" not in text or DIGEST.fullmatch(digest))
    )
    if not well_formed:
        raise UsageError(
            f"{text!r} is not the name of an image.",
            "It should look like gcr.io/mit-lookit/lookit:TAG, in lower case, or end in @sha256:DIGEST.",
        )
    return Reference(registry, repository, tag, digest)


def _is_registry(text: str) -> bool:
    match = REGISTRY.fullmatch(text)
    return match is not None and int(match["port"] or 0) <= HIGHEST_PORT


def tag_for(branch: str) -> str:
    """The tag that follows a branch: its name, with what tags may not hold replaced by dashes."""
    return re.sub(r"[^\w.-]", "-", branch, flags=re.ASCII).lstrip(".-")[:128]
