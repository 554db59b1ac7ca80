"""Images by digest in rendered objects."""

from typing import Any

import pytest

from tasks.lib.errors import Failure
from tasks.lib.image.pinning import pin, pin_with
from tasks.lib.image.reference import Reference
from tests.builders import checked_in_settings

OWN = "gcr.io/mit-lookit/lookit"
DIGEST = "sha256:" + "1" * 64


def workload(kind: str, *images: str, init: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {
        "containers": [{"name": str(n), "image": image} for n, image in enumerate(images)]
    }
    if init:
        spec["initContainers"] = [{"name": "init", "image": init}]
    if kind == "Pod":
        return {"kind": kind, "spec": spec}
    template = {"template": {"spec": spec}}
    return {"kind": kind, "spec": {"jobTemplate": {"spec": template}} if kind == "CronJob" else template}


def asked(objects: list[dict[str, Any]]) -> list[str]:
    seen: list[str] = []

    def resolve(image: Reference) -> str:
        seen.append(str(image))
        return DIGEST

    pin_with(OWN, objects, resolve)
    return seen


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob"])
def test_the_application_s_image_is_named_by_digest_in_every_kind(kind: str) -> None:
    thing = workload(kind, f"{OWN}:abc", init=f"{OWN}:abc")

    asked([thing])

    assert str(thing).count(f"{OWN}:abc@{DIGEST}") == 2


def test_each_image_is_asked_for_once() -> None:
    assert asked([workload("Job", f"{OWN}:abc"), workload("Deployment", f"{OWN}:abc", f"{OWN}:def")]) == [
        f"{OWN}:abc", f"{OWN}:def",
    ]  # fmt: skip


@pytest.mark.parametrize("image", ["postgres:9.6", f"{OWN}-other:abc", f"{OWN}:abc@{DIGEST}", "not an image"])
def test_other_images_and_digests_are_left_alone(image: str) -> None:
    thing = workload("Deployment", image)

    assert asked([thing]) == []
    assert thing["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_objects_without_containers_are_passed_over() -> None:
    assert asked([{"kind": "ConfigMap", "data": {}}, {"kind": "Service", "spec": {"ports": []}}]) == []


def test_nothing_is_asked_where_images_are_not_to_be_resolved() -> None:
    settings = checked_in_settings(registry={"resolve": False})

    assert pin(settings, [workload("Deployment", f"{OWN}:abc")]) == {}


def test_a_registry_that_cannot_be_reached_stops_the_deploy() -> None:
    settings = checked_in_settings(image={"repository": "127.0.0.1:1/lookit"})

    with pytest.raises(Failure, match="The registry at http://127.0.0.1:1 cannot be reached"):
        pin(settings, [workload("Deployment", "127.0.0.1:1/lookit:abc")])
