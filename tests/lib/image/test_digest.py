"""Images by digest in rendered objects."""

from typing import Any

import pytest

from tasks.lib.errors import Failure
from tasks.lib.image.digest import pin, pin_with
from tasks.lib.image.reference import Reference
from tests.builders import checked_in_settings
from tests.lib.image.memory_registry import INDEX, MemoryRegistry, serving

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
def test_the_image_is_pinned_by_digest_in_every_kind(kind: str) -> None:
    thing = workload(kind, f"{OWN}:abc", init=f"{OWN}:abc")

    asked([thing])

    assert str(thing).count(f"{OWN}:abc@{DIGEST}") == 2


def test_each_image_is_asked_for_once() -> None:
    assert asked([workload("Job", f"{OWN}:abc"), workload("Deployment", f"{OWN}:abc", f"{OWN}:def")]) == [
        f"{OWN}:abc", f"{OWN}:def",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "looked_up"),
    [
        ("postgres:9.6", []),
        (f"{OWN}-other:abc", []),
        ("not an image", []),
        (f"{OWN}:abc@{DIGEST}", [f"{OWN}:abc@{DIGEST}"]),
    ],
)
def test_other_images_and_digests_stay_as_they_are(image: str, looked_up: list[str]) -> None:
    thing = workload("Deployment", image)

    assert asked([thing]) == looked_up
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


AMD, ARM = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}
ATTESTATION = {"os": "unknown", "architecture": "unknown"}


def pinned(registry: MemoryRegistry, **build: str) -> str:
    """The image that a Deployment of `lookit:abc` ends up with."""
    thing = workload("Deployment", f"{registry.address}/lookit:abc")
    settings = checked_in_settings(image={"repository": f"{registry.address}/lookit"}, build=build)
    pin(settings, [thing])
    return str(thing["spec"]["template"]["spec"]["containers"][0]["image"])


def index(registry: MemoryRegistry, *platforms: dict[str, str]) -> None:
    """Add an index of images under the tag abc."""
    parts = [
        {"digest": registry.image("lookit", str(platform), **platform), "platform": platform}
        for platform in platforms
    ]
    registry.manifest("lookit", {"manifests": parts}, INDEX, "abc")


def test_an_image_for_another_platform_is_refused() -> None:
    with serving() as registry:
        registry.image("lookit", "content", "abc", **ARM)

        with pytest.raises(Failure, match=r"lookit:abc has no build for linux/amd64") as refused:
            pinned(registry)

    assert "It was built for linux/arm64/v8;" in refused.value.why
    assert "./inv build --platform linux/amd64" in refused.value.next_step


def test_an_index_without_the_platform_is_refused() -> None:
    with serving() as registry:
        index(registry, ARM, ATTESTATION)

        with pytest.raises(Failure, match="has no build for linux/amd64") as refused:
            pinned(registry)

    assert "It was built for linux/arm64/v8;" in refused.value.why


@pytest.mark.parametrize("wanted", ["linux/amd64", "linux/arm64", "linux/arm64/v8", ""])
def test_an_index_with_the_platform_is_pinned_as_a_whole(wanted: str) -> None:
    with serving() as registry:
        index(registry, AMD, ARM, ATTESTATION)
        digest = registry.tags["lookit", "abc"]

        assert pinned(registry, platform=wanted) == f"{registry.address}/lookit:abc@{digest}"


def test_an_image_that_names_no_platform_is_taken() -> None:
    with serving() as registry:
        digest = registry.image("lookit", "content", "abc")

        assert pinned(registry).endswith(digest)
