"""Disks for claims, as the driver of Google's persistent disks creates them; Kubernetes does the rest.

A claim of a class that waits for its first consumer gets a volume once the scheduler has chosen a node.
"""

import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import requests

from sandbox.containers.place import NODE
from sandbox.node.api import Api, Object

log = logging.getLogger(__name__)

DRIVER = "pd.csi.storage.gke.io"
# The name that the driver had while it was part of Kubernetes; live classes of the shell version carry it.
PROVISIONERS = frozenset({DRIVER, "kubernetes.io/gce-pd"})
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
DISKS = "projects/lookit-sandbox/zones/us-east1-d/disks"
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)


def provide(api: Api, disks: Path) -> None:
    """Create a volume for every claim that may have one, for ever; on the real node, a folder in `disks`."""
    for claim in api.follow(CLAIMS):
        _insist(partial(_provide, api, claim, disks), f"claim {claim['metadata']['name']}")


def _provide(api: Api, claim: Object, disks: Path) -> None:
    name = claim["spec"].get("storageClassName")
    kind = api.get(f"{CLASSES}/{name}") if name and not claim["spec"].get("volumeName") else None
    if kind and (volume := volume_for(claim, kind, disks)):
        if "local" in volume["spec"]:
            (disks / volume["metadata"]["name"]).mkdir(parents=True, exist_ok=True)
        api.create(VOLUMES, volume)


def reclaim(api: Api, disks: Path) -> None:
    """Delete every volume of ours whose claim is gone, for ever, with its folder in `disks`."""
    for volume in api.follow(VOLUMES):
        if is_done_with(volume):
            name = volume["metadata"]["name"]
            _insist(partial(api.delete, f"{VOLUMES}/{name}"), f"volume {name}")
            shutil.rmtree(disks / name, ignore_errors=True)


def _insist(do: Callable[[], None], what: str) -> None:
    """Try a few times: a watch tells of an object again only when it changes."""
    for pause in PAUSES:
        time.sleep(pause)
        try:
            do()
        except requests.RequestException as error:
            log.warning("%s: %s", what, error)
        else:
            return


def volume_for(claim: Object, kind: Object, disks: Path) -> dict[str, Any] | None:
    """The volume that `claim`, of the StorageClass `kind`, should get now.

    None when it has one, must wait for a node, or is another driver's.
    """
    metadata, spec = claim["metadata"], claim["spec"]
    if kind["provisioner"] not in PROVISIONERS or spec.get("volumeName") or metadata.get("deletionTimestamp"):
        return None
    node = metadata.get("annotations", {}).get(SELECTED_NODE)
    if kind.get("volumeBindingMode") == "WaitForFirstConsumer" and not node:
        return None
    name = f"pvc-{metadata['uid']}"
    reference = {key: metadata[key] for key in ("namespace", "name", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: DRIVER}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
            **(_folder(disks / name) if node == NODE else _disk(name)),
            "persistentVolumeReclaimPolicy": kind.get("reclaimPolicy", "Delete"),
            "storageClassName": kind["metadata"]["name"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
        },
    }


def _disk(name: str) -> dict[str, Any]:
    return {"csi": {"driver": DRIVER, "fsType": "ext4", "volumeHandle": f"{DISKS}/{name}"}}


def _folder(path: Path) -> dict[str, Any]:
    """A folder of the real node: such a volume gets the group that fsGroup names, as a disk does."""
    this = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    only = {"required": {"nodeSelectorTerms": [{"matchExpressions": [this]}]}}
    return {"local": {"path": str(path)}, "nodeAffinity": only}


def is_done_with(volume: Object) -> bool:
    """Whether a volume of ours was released and its class says to delete it."""
    return (
        volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) == DRIVER
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and volume.get("status", {}).get("phase") == "Released"
        and not volume["metadata"].get("deletionTimestamp")
    )
