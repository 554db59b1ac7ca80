"""Disks for claims, as the driver of Google's persistent disks makes them: the cluster's own controllers do
the rest.

A claim of a class that waits for its first consumer gets a volume once the scheduler has chosen a node.
"""

import logging
from typing import Any

import requests

from tasks.lib.sandbox.api import Api, Object

log = logging.getLogger(__name__)

DRIVER = "pd.csi.storage.gke.io"
# The name that the driver had while it was part of Kubernetes; live classes of the shell version carry it.
PROVISIONERS = frozenset({DRIVER, "kubernetes.io/gce-pd"})
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
ZONE = "us-east1-d"


def provide(api: Api) -> None:
    """Make a volume for every claim that may have one, for ever."""
    for claim in api.follow(CLAIMS):
        try:
            name = claim["spec"].get("storageClassName")
            kind = api.get(f"{CLASSES}/{name}") if name and not claim["spec"].get("volumeName") else None
            if kind and (volume := volume_for(claim, kind)):
                api.create(VOLUMES, volume)
        except requests.RequestException as error:
            log.warning("claim %s: %s", claim["metadata"]["name"], error)


def reclaim(api: Api) -> None:
    """Delete every volume of ours whose claim is gone, for ever."""
    for volume in api.follow(VOLUMES):
        if is_done_with(volume):
            try:
                api.delete(f"{VOLUMES}/{volume['metadata']['name']}")
            except requests.RequestException as error:
                log.warning("volume %s: %s", volume["metadata"]["name"], error)


def volume_for(claim: Object, kind: Object) -> dict[str, Any] | None:
    """The volume that `claim` should get now; None when it has one, must wait, or is another driver's matter.

    Args:
        claim: a PersistentVolumeClaim.
        kind: its StorageClass.

    """
    metadata, spec = claim["metadata"], claim["spec"]
    if kind["provisioner"] not in PROVISIONERS or spec.get("volumeName") or metadata.get("deletionTimestamp"):
        return None
    node = metadata.get("annotations", {}).get(SELECTED_NODE)
    if kind.get("volumeBindingMode") == "WaitForFirstConsumer" and not node:
        return None
    name = f"pvc-{metadata['uid']}"
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: DRIVER}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": reference,
            "csi": {
                "driver": DRIVER,
                "fsType": "ext4",
                "volumeHandle": f"projects/lookit-sandbox/zones/{ZONE}/disks/{name}",
            },
            "persistentVolumeReclaimPolicy": kind.get("reclaimPolicy", "Delete"),
            "storageClassName": kind["metadata"]["name"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
        },
    }


def is_done_with(volume: Object) -> bool:
    """Whether a volume of ours was released and its class says to delete it."""
    return (
        volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) == DRIVER
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and volume.get("status", {}).get("phase") == "Released"
        and not volume["metadata"].get("deletionTimestamp")
    )
