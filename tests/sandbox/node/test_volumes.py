"""When a claim gets a volume, and which."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from sandbox.containers.place import NODE
from sandbox.node import volumes
from sandbox.node.api import Api
from sandbox.node.volumes import DRIVER, PROVISIONED_BY, SELECTED_NODE, is_done_with, volume_for
from tests.clock import Clock
from tests.sandbox_case import merged

WAITS = {"metadata": {"name": "ssd"}, "provisioner": DRIVER, "volumeBindingMode": "WaitForFirstConsumer"}
AT_ONCE = {**WAITS, "volumeBindingMode": "Immediate", "reclaimPolicy": "Retain"}
DISKS = Path("/s/disks")
CLAIM = {
    "metadata": {"namespace": "default", "name": "data", "uid": "1-2", "annotations": {SELECTED_NODE: "n"}},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}},
}


def test_the_volume_is_the_claims() -> None:
    assert volume_for(CLAIM, WAITS, DISKS) == {
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
    assert (volume_for(merged(CLAIM, claim), kind, DISKS) is not None) == gets_one


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


ON_REAL_NODE = merged(CLAIM, {"metadata": {"annotations": {SELECTED_NODE: NODE}}})


def test_a_volume_on_the_real_node_is_a_folder() -> None:
    spec = (volume_for(ON_REAL_NODE, WAITS, DISKS) or {})["spec"]

    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert spec["local"] == {"path": "/s/disks/pvc-1-2"}
    assert term["matchExpressions"][0]["values"] == [NODE]
    assert "csi" not in spec


class Faltering:
    """A server that tells of one claim and one released volume, and that takes so many tries to be changed."""

    def __init__(self, faults: int, claim: dict[str, Any] = CLAIM) -> None:
        self.faults, self.changed, self.claim = faults, list[str](), claim

    def follow(self, path: str) -> Iterator[dict[str, Any]]:
        if path == volumes.CLAIMS:
            yield merged(self.claim, {"spec": {"storageClassName": "ssd"}})
        else:
            yield {**(volume_for(self.claim, WAITS, DISKS) or {}), "status": {"phase": "Released"}}

    def get(self, path: str) -> dict[str, Any]:
        return WAITS

    def create(self, path: str, value: dict[str, Any]) -> None:
        self._change(f"{path}/{value['metadata']['name']}")

    def delete(self, path: str) -> None:
        self._change(path)

    def _change(self, path: str) -> None:
        self.faults -= 1
        if self.faults >= 0:
            raise requests.ReadTimeout("no answer")
        self.changed.append(path)


@pytest.mark.parametrize(("faults", "changed"), [(0, True), (3, True), (1000, False)])
@pytest.mark.parametrize("task", [volumes.provide, volumes.reclaim])
def test_what_fails_is_tried_again_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path, task: Any, faults: int, changed: bool
) -> None:
    monkeypatch.setattr(volumes, "time", clock, raising=False)
    server = Faltering(faults)

    task(cast("Api", server), tmp_path)

    assert server.changed == ["/api/v1/persistentvolumes/pvc-1-2"] * changed


def test_a_folder_on_the_real_node_follows_its_volume(tmp_path: Path) -> None:
    server = cast("Api", Faltering(0, ON_REAL_NODE))

    volumes.provide(server, tmp_path)
    made = [path.name for path in tmp_path.iterdir()]
    volumes.reclaim(server, tmp_path)

    assert made == ["pvc-1-2"]
    assert list(tmp_path.iterdir()) == []
