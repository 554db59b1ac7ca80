"""When a claim gets a volume, and which."""

from typing import Any

import pytest

from tasks.lib.sandbox.volumes import DRIVER, PROVISIONED_BY, SELECTED_NODE, is_done_with, volume_for
from tests.sandbox_case import merged

WAITS = {"metadata": {"name": "ssd"}, "provisioner": DRIVER, "volumeBindingMode": "WaitForFirstConsumer"}
AT_ONCE = {**WAITS, "volumeBindingMode": "Immediate", "reclaimPolicy": "Retain"}
CLAIM = {
    "metadata": {"namespace": "default", "name": "data", "uid": "1-2", "annotations": {SELECTED_NODE: "n"}},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}},
}


def test_the_volume_is_the_claims() -> None:
    assert volume_for(CLAIM, WAITS) == {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "pvc-1-2", "annotations": {PROVISIONED_BY: DRIVER}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "8Gi"},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "default",
                         "name": "data", "uid": "1-2"},
            "csi": {"driver": DRIVER, "fsType": "ext4",
                    "volumeHandle": "projects/lookit-sandbox/zones/us-east1-d/disks/pvc-1-2"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "ssd",
            "volumeMode": "Filesystem",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "kind", "gets_one"),
    [
        pytest.param(
            {"metadata": {"annotations": {SELECTED_NODE: ""}}}, WAITS, False, id="no node chosen yet"
        ),
        pytest.param(
            {"metadata": {"annotations": {SELECTED_NODE: ""}}}, AT_ONCE, True, id="waits for no node"
        ),
        pytest.param({"spec": {"volumeName": "pv"}}, WAITS, False, id="has one"),
        pytest.param({"metadata": {"deletionTimestamp": "now"}}, WAITS, False, id="is being deleted"),
        pytest.param({}, {**WAITS, "provisioner": "example.com/nfs"}, False, id="another driver"),
        pytest.param({}, {**WAITS, "provisioner": "kubernetes.io/gce-pd"}, True, id="the driver's old name"),
    ],
)
def test_a_claim_gets_a_volume(claim: dict[str, Any], kind: dict[str, Any], gets_one: bool) -> None:
    assert (volume_for(merged(CLAIM, claim), kind) is not None) == gets_one


@pytest.mark.parametrize(
    ("volume", "done"),
    [
        ({}, True),
        ({"status": {"phase": "Bound"}}, False),
        ({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}, False),
        ({"metadata": {"annotations": {PROVISIONED_BY: "another"}}}, False),
        ({"metadata": {"deletionTimestamp": "now"}}, False),
    ],
    ids=["released", "still bound", "to be kept", "another's", "on its way"],
)
def test_a_volume_is_deleted_when(volume: dict[str, Any], done: bool) -> None:
    released = {
        "metadata": {"annotations": {PROVISIONED_BY: DRIVER}},
        "spec": {"persistentVolumeReclaimPolicy": "Delete"},
        "status": {"phase": "Released"},
    }
    assert is_done_with(merged(released, volume)) is done
