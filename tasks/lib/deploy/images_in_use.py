"""Which images of a repository the environments need: running, kept for a rollback, being deployed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Api
from tasks.lib.deploy.history import DAMAGED, Release
from tasks.lib.deploy.lock.holder import claim, notes_of
from tasks.lib.deploy.lock.lease import Lock
from tasks.lib.deploy.releases import store
from tasks.lib.errors import Failure
from tasks.lib.image.digest import containers, parsed
from tasks.lib.image.reference import Reference
from tasks.lib.settings.model import Environment, Settings

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
    used: set[str] = set()
    for environment in settings.environments.values():
        with gke.reached(settings, environment) as connection:
            for path in WORKLOADS:
                objects, _ = connection.api.list(
                    "/" + path.format(environment.namespace), doing="look for images in use"
                )
                kind = "Pod" if path.endswith("/pods") else "CronJob" if path.endswith("/cronjobs") else ""
                used |= named([{**thing, "kind": kind} for thing in objects], repository)
            for past in store.read(connection.api, environment.namespace):
                used |= named([as_pod(images_of(past, environment.namespace))], repository)
            used |= being_deployed(connection.api, environment)
    return used


def being_deployed(api: Api, environment: Environment) -> set[str]:
    """The tag of the image that a running deploy may not have applied yet: only its lock names it."""
    lease = Lock(api, environment, claim({})).read()
    return {notes_of(lease).get("commit", "")} - {""} if lease else set()


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
