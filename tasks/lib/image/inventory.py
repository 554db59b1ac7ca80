"""What a repository holds: its images, newest first, each with all its tags, and who still uses them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.lib.background import side_by_side
from tasks.lib.deploy.releases import store
from tasks.lib.deploy.releases.history import DAMAGED
from tasks.lib.errors import Failure
from tasks.lib.image.build import LABEL
from tasks.lib.image.digest import containers, parsed
from tasks.lib.image.reference import DIGEST, Reference
from tasks.lib.image.registry import Registry, connect, labels_of

if TYPE_CHECKING:
    from tasks.lib.cluster.api import Api
    from tasks.lib.deploy.releases.history import Release
    from tasks.lib.settings.model import Environment, Settings

REQUESTS_AT_ONCE = 8
WORKLOADS = (
    "apis/apps/v1/namespaces/{}/deployments",
    "apis/apps/v1/namespaces/{}/statefulsets",
    "apis/apps/v1/namespaces/{}/daemonsets",
    "apis/apps/v1/namespaces/{}/replicasets",  # those that a rollback would go back to
    "apis/batch/v1/namespaces/{}/jobs",
    "apis/batch/v1/namespaces/{}/cronjobs",
    "api/v1/namespaces/{}/pods",
)


@dataclass(frozen=True)
class Held:
    """One image in the registry; `created` is an ISO 8601 time, `size` the bytes of its compressed layers.

    An index is told as the first image that it lists; `parts` are the digests of everything below it.
    """

    digest: str
    tags: list[str]
    created: str
    commit: str
    size: int
    parts: list[str] = field(default_factory=list)


def held(settings: "Settings", repository: Reference, used: Iterable[str] = ()) -> list[Held]:
    """The images of a repository, newest first: those with a tag, and those without whose digests are `used`.

    Raises:
        Failure: the registry cannot be reached or refuses.

    """
    registry = connect(settings, repository.registry)
    tags = registry.tags(repository)
    digests = side_by_side(lambda t: registry.digest(repository.tagged(t)), tags, REQUESTS_AT_ONCE)
    by_digest: dict[str, list[str]] = {name: [] for name in used if DIGEST.fullmatch(name)}
    for tag, digest in zip(tags, digests, strict=True):
        by_digest.setdefault(digest, []).append(tag)
    by_digest.pop("", None)  # vanished meanwhile
    found = side_by_side(
        lambda d: _describe(registry, repository.at(d), sorted(by_digest[d])), by_digest, REQUESTS_AT_ONCE
    )
    present = [image for image in found if image]
    return sorted(present, key=lambda image: (image.created, image.digest), reverse=True)


def _describe(registry: Registry, image: Reference, tags: list[str]) -> Held | None:
    manifest = registry.manifest(image)
    if manifest is None:
        return None
    one = registry.first(image, manifest) or manifest
    config = registry.configuration(image, one)
    labels = labels_of(config)
    size = sum(layer["size"] for layer in one.content.get("layers", []))
    commit, parts_of_it = labels.get(f"{LABEL}.revision", ""), registry.parts(image, manifest)
    return Held(image.digest, tags, config.get("created") or "", commit, size, parts_of_it)


def in_use(settings: "Settings", repository: Reference) -> set[str]:
    """The tags and digests of `repository` that any environment's workloads, releases or running deploy name.

    Raises:
        Failure: a cluster cannot be asked, so nothing may be deleted.

    """
    from tasks.lib.cluster.gke import connect as reach

    used: set[str] = set()
    for environment in settings.environments.values():
        connection = reach(settings, environment)
        try:
            for path in WORKLOADS:
                objects, _ = connection.api.list(
                    "/" + path.format(environment.namespace), doing="look for images in use"
                )
                kind = "Pod" if path.endswith("/pods") else "CronJob" if path.endswith("/cronjobs") else ""
                used |= named([{**thing, "kind": kind} for thing in objects], repository)
            for past in store.read(connection.api, environment.namespace):
                used |= named([as_pod(images_of(past, environment.namespace))], repository)
            used |= being_deployed(connection.api, environment)
        finally:
            connection.api.close()
    return used


def being_deployed(api: "Api", environment: "Environment") -> set[str]:
    """The tag of the image that a running deploy may not have applied yet: only its lock names it."""
    from tasks.lib.deploy.lock.holder import claim_of, notes_of
    from tasks.lib.deploy.lock.lease import Lock

    lease = Lock(api, environment, claim_of({})).read()
    return {notes_of(lease).get("commit", "")} - {""} if lease else set()


def images_of(past: "Release", namespace: str) -> list[str]:
    """The images of a past release.

    Raises:
        Failure: somebody changed what is kept of them.

    """
    if "images" in past.facts.get(DAMAGED, ""):
        raise Failure(
            f"Which images release {past.number} in {namespace} runs cannot be read.",
            "Somebody changed its ConfigMap, and what a roll back needs must not be deleted.",
            "If that release is not needed: "
            f"kubectl -n {namespace} delete configmap {store.config_map(past.number, 1)}",
        )
    found: list[str] = json.loads(past.facts.get("images", "[]"))
    return found


def named(objects: Iterable[Mapping[str, Any]], repository: Reference) -> set[str]:
    """The tags and digests of `repository` in the containers of Kubernetes objects."""
    used = set()
    for thing in objects:
        names = [container.get("image") for container in containers([thing])]
        for image in map(parsed, [*names, *running(thing)]):
            if image and image.name == repository.name:
                # Kubernetes runs `latest` where a name has neither.
                used |= {image.tag, image.digest} - {""} or {"latest"}
    return used


def running(pod: Mapping[str, Any]) -> list[str]:
    """The images that a pod's containers run, by digest: its tag may have moved since they started."""
    status = pod.get("status") or {}
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    containers_run = [one for kind in kinds for one in status.get(kind) or []]
    return [str(one.get("imageID", "")).removeprefix("docker-pullable://") for one in containers_run]


def as_pod(images: Iterable[str]) -> dict[str, Any]:
    """A pod that runs `images`, as a release's list of them is read."""
    return {"kind": "Pod", "spec": {"containers": [{"image": image} for image in images]}}


def called(image: Held) -> str:
    """An image's tags, or its digest where it has none."""
    return ", ".join(image.tags) or image.digest


def as_json(images: Sequence[Held]) -> str:
    """The images for scripts."""
    return json.dumps([asdict(image) for image in images], indent=2)


def rows(images: Sequence[Held]) -> list[list[str]]:
    """The images for people: tags, when, commit, size, digest."""
    return [
        [
            called(image), image.created[:16].replace("T", " "), image.commit[:7],
            f"{image.size / 1e6:.0f} MB", image.digest.removeprefix("sha256:")[:12],
        ]
        for image in images
    ]  # fmt: skip
