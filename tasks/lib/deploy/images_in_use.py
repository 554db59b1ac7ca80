"""Which images of a repository the environments need: running, kept for a rollback, being deployed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.lib.cluster import gke
from tasks.lib.deploy.history import DAMAGED, Release
from tasks.lib.deploy.lock.holder import claim, notes_of
from tasks.lib.deploy.lock.lease import Lock
from tasks.lib.deploy.releases import store
from tasks.lib.errors import Failure
from tasks.lib.image.digest import containers, parsed
from tasks.lib.image.reference import Reference
from tasks.lib.settings.model import Settings

WORKLOADS = (
    "apis/apps/v1/namespaces/{}/deployments",
    "apis/apps/v1/namespaces/{}/statefulsets",
    "apis/apps/v1/namespaces/{}/daemonsets",
    "apis/apps/v1/namespaces/{}/replicasets",  # those that a rollback would go back to
    "apis/batch/v1/namespaces/{}/jobs",
    "apis/batch/v1/namespaces/{}/cronjobs",
    "api/v1/namespaces/{}/pods",
)


def in_use(settings: Settings, repository: Reference) -> set[str]:
    """The tags and digests of `repository` that any environment's workloads, releases or running deploy name.

    Raises Failure where a cluster cannot be asked, so that nothing may be deleted.
    """
    images: list[str] = []
    tags: set[str] = set()
    for environment in settings.environments.values():
        with gke.reached(settings, environment) as connection:
            for path in WORKLOADS:
                objects, _ = connection.api.list(
                    "/" + path.format(environment.namespace), doing="look for images in use"
                )
                kind = "Pod" if path.endswith("/pods") else "CronJob" if path.endswith("/cronjobs") else ""
                images += in_objects([{**thing, "kind": kind} for thing in objects])
            for past in store.read(connection.api, environment.namespace):
                images += images_of(past, environment.namespace)
            # What a running deploy may not have applied yet, only its lock names.
            lease = Lock(connection.api, environment, claim({})).read()
            tags |= {notes_of(lease).get("commit", "")} - {""} if lease else set()
    return tags | named(images, repository)


def images_of(past: Release, namespace: str) -> list[str]:
    """The images of a past release; raises Failure where somebody changed what is kept of them."""
    if "images" in past.facts.get(DAMAGED, ""):
        raise Failure(
            f"Which images release {past.number} in {namespace} runs cannot be read.",
            "Somebody changed its ConfigMap, and what a rollback needs must not be deleted.",
            "If that release is not needed: "
            f"kubectl -n {namespace} delete configmap {store.config_map(past.number, 1)}",
        )
    found: list[str] = json.loads(past.facts.get("images", "[]"))
    return found


def named(images: Iterable[str], repository: Reference) -> set[str]:
    """The tags and digests of `repository` among images."""
    used = set()
    for image in map(parsed, images):
        if image and image.name == repository.name:
            # Kubernetes runs `latest` where a name has neither.
            used |= {image.tag, image.digest} - {""} or {"latest"}
    return used


def in_objects(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """The images that Kubernetes objects name and, of pods, those that run: a tag may have moved since."""
    things = list(objects)
    named = [str(container.get("image")) for container in containers(things)]
    return [*named, *(image for thing in things for image in running(thing))]


def running(pod: Mapping[str, Any]) -> list[str]:
    """The images that a pod's containers run, by digest."""
    status = pod.get("status") or {}
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    containers_run = [one for kind in kinds for one in status.get(kind) or []]
    return [str(one.get("imageID", "")).removeprefix("docker-pullable://") for one in containers_run]
