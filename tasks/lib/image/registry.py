"""A registry's own API (OCI distribution 1.1, which Artifact Registry, Docker Hub and docker-registry speak).

It looks up, copies and deletes by digest without pulling an image.  Source of the protocol:
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from tasks.lib.background import call
from tasks.lib.errors import Failure, UsageError
from tasks.lib.google.answers import object_in
from tasks.lib.image.credentials import login
from tasks.lib.image.reference import DOCKER_HUB, Reference
from tasks.lib.image.refusals import failed
from tasks.lib.image.wire import Exchange, Wire, speaks_tls
from tasks.lib.settings.model import Settings
from tasks.lib.settings.values import is_this_machine

if TYPE_CHECKING:
    from requests import Response

HUB_API = "registry-1.docker.io"
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPTED = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
TAGS_A_PAGE = 1000
# What an index says of parts that are no images, such as attestations.
ATTESTED = "unknown/unknown"


@dataclass(frozen=True)
class Manifest:
    """What a tag or digest stands for, byte for byte."""

    digest: str
    media_type: str
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """The manifest as JSON."""
        read: dict[str, Any] = json.loads(self.body)
        return read

    @property
    def image_id(self) -> str:
        """The digest of the image's configuration, which Docker calls its id; empty for an index."""
        return str(self.content.get("config", {}).get("digest", ""))

    @property
    def blobs(self) -> list[str]:
        """The digests of its configuration and layers."""
        parts = [self.content["config"], *self.content["layers"]] if "config" in self.content else []
        return [part["digest"] for part in parts]

    @property
    def children(self) -> list[str]:
        """The digests of the manifests that an index lists."""
        return [part["digest"] for part in self.content.get("manifests", [])]


def _object_in(answer: "Response", image: Reference) -> dict[str, Any]:
    """The JSON object in an answer of the image's registry, as `object_in`."""
    return object_in(answer, f"The registry {image.registry}")


def labels_of(configuration: Mapping[str, Any]) -> dict[str, str]:
    """The labels in an image's configuration; tools write null where there are none."""
    return (configuration.get("config") or {}).get("Labels") or {}


class Registry:
    """One registry, with one connection and one login for all that is asked of it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def digest(self, image: Reference) -> str:
        """The digest of `image`, or an empty text where the registry has no such image."""
        answer = self._ask(image, "HEAD", f"manifests/{image.identifier}", ACCEPTED, accept=(404,))
        if answer.status_code == 404:
            return ""
        found: str = answer.headers.get("Docker-Content-Digest", "")
        if found:
            return found
        manifest = self.manifest(image)
        return manifest.digest if manifest else ""

    def manifest(self, image: Reference) -> Manifest | None:
        """The manifest of `image`, or None where the registry has no such image."""
        from hashlib import sha256

        answer = self._ask(image, "GET", f"manifests/{image.identifier}", ACCEPTED, accept=(404,))
        if answer.status_code == 404:
            return None
        _object_in(answer, image)
        digest = f"sha256:{sha256(answer.content).hexdigest()}"
        media_type = answer.headers.get("Content-Type", "").partition(";")[0]
        return Manifest(digest, media_type, answer.content)

    def configuration(self, image: Reference, manifest: Manifest) -> dict[str, Any]:
        """The image's configuration: labels, creation time, platform; of an index, its first image's."""
        first = self.first(image, manifest)
        if first is None or not first.image_id:
            return {}
        return _object_in(self._ask(image, "GET", f"blobs/{first.image_id}", {}), image)

    def labels(self, image: Reference, manifest: Manifest) -> dict[str, str]:
        """What the image says of itself; of an index, its first image's labels."""
        return labels_of(self.configuration(image, manifest))

    def first(self, image: Reference, manifest: Manifest) -> Manifest | None:
        """A single image's manifest: of an index, the first that it lists; None where that is missing."""
        if not manifest.children:
            return manifest
        child = image.at(manifest.children[0])
        listed = self.manifest(child)
        return self.first(child, listed) if listed else None

    def parts(self, image: Reference, manifest: Manifest) -> list[str]:
        """The digests of all that an index lists, and of what is listed by indexes among that."""
        found: list[str] = []
        for part in manifest.content.get("manifests", []):
            found.append(part["digest"])
            if part.get("mediaType") in MANIFESTS:
                continue
            listed = self.manifest(image.at(part["digest"]))
            found += self.parts(image, listed) if listed else []
        return found

    def platforms(self, image: Reference, manifest: Manifest) -> list[str]:
        """What the image was built for, such as `linux/amd64`; none where it does not say."""
        listed = [part.get("platform") or {} for part in manifest.content.get("manifests", [])]
        said = listed or [self.configuration(image, manifest)]
        found = (_spelled(one) for one in said)
        return sorted({one for one in found if one and one != ATTESTED})

    def tags(self, repository: Reference) -> list[str]:
        """All tags of a repository, in the registry's order; none where there is no such repository."""
        found: list[str] = []
        path: str | None = f"tags/list?n={TAGS_A_PAGE}"
        while path:
            answer = self._ask(repository, "GET", path, {}, accept=(404,))
            if answer.status_code == 404:
                return found
            found += _object_in(answer, repository).get("tags") or []
            path = _next_page(answer)
        return found

    def copy(self, source: Reference, target: Reference) -> str:
        """Give `source`'s image the name `target`, in the same registry, and return its digest.

        Layers are mounted where the registry can do that, else carried over; nothing is rebuilt. Raises
        Failure where the registry has no `source`, or refused.
        """
        manifest = self.manifest(source)
        if manifest is None:
            raise no_such_image(source)
        for child in manifest.children:
            self.copy(source.at(child), target.at(child))
        if source.repository != target.repository:
            for blob in manifest.blobs:
                self._copy_blob(source, target, blob)
        kind = {"Content-Type": manifest.media_type}
        self._ask(target, "PUT", f"manifests/{target.identifier}", kind, manifest.body)
        return manifest.digest

    def delete(self, image: Reference) -> None:
        """Delete a manifest by its digest, with all its tags; or a tag alone, where the registry can."""
        self._ask(image, "DELETE", f"manifests/{image.identifier}", {}, accept=(404,))

    def _copy_blob(self, source: Reference, target: Reference, digest: str) -> None:
        """Mount a layer from another repository, or carry it over where the registry will not mount it."""
        start = f"blobs/uploads/?mount={digest}&from={source.repository}"
        answer = self._ask(target, "POST", start, {})
        if answer.status_code == 201:
            return
        blob = self._ask(source, "GET", f"blobs/{digest}", {})
        location = urljoin(answer.url, answer.headers["Location"])
        joined = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        self._ask(target, "PUT", joined, {"Content-Type": "application/octet-stream"}, blob.content)

    def _ask(
        self, image: Reference, method: str, path: str, headers: Mapping[str, str], body: bytes = b"",
        accept: tuple[int, ...] = (),
    ) -> "Response":  # fmt: skip
        """One request about `image`'s repository; an answer above 399 that is not in `accept` is an error."""
        url = path if path.startswith("http") else f"/v2/{image.repository}/{path}"
        answer = self._wire.send(Exchange(method, url, headers, body))
        if answer.status_code < 400 or answer.status_code in accept:
            return answer
        raise failed(method, answer, image)


def connect(settings: Settings, registry: str) -> Registry:
    """A connection to `registry` (host, or host:port), with the login that this machine has for it."""
    host = HUB_API if registry == DOCKER_HUB else registry
    address, limits = f"{scheme(settings, host)}://{host}", settings.time_limits
    find_login, ca_file = partial(login, settings.google, registry), settings.registry.ca_file
    return Registry(Wire(address, find_login, limits.registry_attempt, limits.registry, ca_file))


def scheme(settings: Settings, host: str) -> str:
    """How a registry is reached: without TLS where it is named so, or is this machine's own and has none."""
    if host in settings.registry.plain_http:
        return "http"
    if is_on_this_machine(host) and not call(speaks_tls, host, settings.time_limits.registry_attempt):
        return "http"
    return "https"


def check_writable(settings: Settings, image: Reference) -> None:
    """Refuse to change a registry out in the world where only this machine's may be changed."""
    if not may_change(settings, image):
        raise UsageError(
            f"{image.name} is not changed: with --sandbox nothing leaves this machine.",
            "registry.elsewhere is false, and that registry is not on this machine.",
            "Name one that is, such as INVOKE_SANDBOX_REGISTRY=127.0.0.1:5000.",
        )


def may_change(settings: Settings, image: Reference) -> bool:
    """Whether images may be pushed, named and deleted where `image` is."""
    return settings.registry.elsewhere or is_on_this_machine(image.registry)


def is_on_this_machine(registry: str) -> bool:
    """Whether a registry (host, or host:port) is this machine's own."""
    return is_this_machine(registry.rpartition(":")[0] or registry)


def no_such_image(image: Reference) -> Failure:
    """The error for an image that its registry does not hold."""
    return Failure(
        f"The registry has no image {image}.",
        "Its build failed, or was never pushed under this name, or was pruned.",
        f"See what there is: ./inv images.list --repository {image.name}",
    )


def _spelled(platform: Mapping[str, Any]) -> str:
    """A platform as Docker spells it; empty where it is not known."""
    if not (platform.get("os") and platform.get("architecture")):
        return ""
    return "/".join(platform[key] for key in ("os", "architecture", "variant") if platform.get(key))


def _next_page(answer: "Response") -> str | None:
    """The path of the next page of tags, from the Link header."""
    link = answer.links.get("next", {}).get("url")
    return "tags/list" + link.partition("tags/list")[2] if link else None
