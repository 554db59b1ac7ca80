"""The pods within objects: where their specifications are, and the containers in them."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def pod_specs(thing: Mapping[str, Any]) -> list[Json]:
    """Specifications of pods in an object: a pod's own, a workload's, a CronJob's, a revision's."""
    return list(located(thing).values())


def located(thing: Mapping[str, Any]) -> dict[str, Json]:
    """The same by the path that leads there, such as `spec.template.spec`."""
    outer = "spec" if isinstance(thing.get("spec"), dict) else "data.spec"
    paths = (outer, f"{outer}.template.spec", f"{outer}.jobTemplate.spec.template.spec")
    found = {path: at(thing, path) for path in paths}
    return {path: spec for path, spec in found.items() if isinstance(spec, dict) and "containers" in spec}


def at(thing: Any, path: str) -> Any:
    """What a dotted path leads to; None where it leads nowhere."""
    for key in path.split("."):
        thing = thing.get(key) if isinstance(thing, Mapping) else None
    return thing


def containers_of(pod_spec: Mapping[str, Any]) -> list[tuple[str, Json]]:
    """Every container of a pod by what it is called: `init container wait`, `container web`."""
    return [
        (f"{title} {one.get('name')}", one)
        for field, title in (("initContainers", "init container"), ("containers", "container"))
        for one in pod_spec.get(field) or []
    ]
