"""The lists of expected keys are what the manifests ask for: `secrets.verify` and `doctor` go by the lists."""

from collections.abc import Iterator
from typing import Any

from tests.kubernetes.rendering import Tree


def test_listed_and_requested_keys_are_the_same(tree: Tree) -> None:
    objects = list(tree.objects.values())
    held = {
        o["metadata"]["name"]: set(o.get("data", {}))
        for o in objects
        if o["kind"] == "Secret" and o.get("type") == "Opaque"
    }
    asked: dict[str, set[str]] = {name: set() for name in held}
    for secret, key in asked_keys(objects):
        asked[secret] |= held[secret] if key == "*" else {key}
    assert asked == held


def asked_keys(objects: list[Any]) -> Iterator[tuple[str, str]]:
    """Secret and key of every variable and every mounted volume; `*` for a secret mounted whole."""
    for spec in pod_specs(objects):
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        volumes = {v["name"]: v["secret"]["secretName"] for v in spec.get("volumes", []) if "secret" in v}
        for container in containers:
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    yield reference["name"], reference["key"]
            for mount in container.get("volumeMounts", []):
                if mount["name"] in volumes:
                    yield volumes[mount["name"]], mount.get("subPath", "*")


def pod_specs(objects: list[Any]) -> Iterator[Any]:
    for o in objects:
        if "template" in o.get("spec", {}):
            yield o["spec"]["template"]["spec"]
