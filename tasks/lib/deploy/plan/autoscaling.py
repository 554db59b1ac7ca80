"""`replicas` that left a manifest: where an autoscaler counts the pods, its count is kept.

A field that its manager does not apply any more gets its default, which is one pod.  Source:
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ (migrating to autoscaling).
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from tasks.lib.cluster.api import FIELD_MANAGER, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy.objects import Wanted, annotations, managed_fields
from tasks.lib.deploy.plan.diff import COPY
from tasks.lib.deploy.steps import Action, Step

AUTOSCALER: Final = ("autoscaling/v2", "HorizontalPodAutoscaler")
SCALED: Final = frozenset({("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "ReplicaSet")})
FIELD: Final = ".spec.replicas"
LEFT: Final = "replicas removed from the manifest"
Target = tuple[str, str, str]  # kind, namespace and name of what is scaled


def settled(
    connection: Connection, steps: Sequence[Step], objects: Iterable[Wanted], predecessors: Collection[str]
) -> list[Step]:
    """The same steps; those that would lose their `replicas` keep them, or say so."""
    losing = {step.ref for step in steps if loses_replicas(step, predecessors)}
    if not losing:
        return list(steps)
    targets = scaled_by(w.body for w in objects)
    for namespace in {ref.namespace for ref in losing}:
        targets |= scaled_by(_autoscalers(connection, namespace))
    return [_settled(step, targets) if step.ref in losing else step for step in steps]


def loses_replicas(step: Step, predecessors: Collection[str] = ()) -> bool:
    """Whether this change would reset the number of pods, because nobody else sets it."""
    before = replicas_of(step.live)
    if step.action is not Action.CHANGE or (step.ref.group, step.ref.kind) not in SCALED:
        return False
    if before in {None, 1} or replicas_of(step.body) is not None:
        return False
    managers = _managers(step.live or {})
    return managers <= {FIELD_MANAGER, *predecessors} and (bool(managers) or _was_applied(step.live or {}))


def scaled_by(things: Iterable[Json]) -> set[Target]:
    """What autoscalers among these objects scale; KEDA's name it in the same field."""
    found = set[Target]()
    for thing in things:
        spec, metadata = thing.get("spec"), thing["metadata"]
        target = spec.get("scaleTargetRef") if isinstance(spec, dict) else None
        if isinstance(target, dict):
            kind, name = target.get("kind") or "Deployment", target.get("name")
            found.add((str(kind), metadata.get("namespace", ""), str(name)))
    return found


def replicas_of(thing: Json | None) -> int | None:
    """The number of pods that an object asks for, if it says one."""
    number = ((thing or {}).get("spec") or {}).get("replicas")
    return number if isinstance(number, int) else None


def notes(steps: Iterable[Step]) -> list[str]:
    """What to know before the number of pods changes, or though it does not."""
    return [f"{step.ref}: {step.reason}" for step in steps if step.reason.startswith(LEFT)]


def _settled(step: Step, targets: Collection[Target]) -> Step:
    count, ref = replicas_of(step.live), step.ref
    if (ref.kind, ref.namespace, ref.name) not in targets:
        out = "restore it, or deploy the HorizontalPodAutoscaler too: its count is kept"
        return replace(step, reason=f"{LEFT}: its {count} pods become 1; {out}")
    body = {**step.body, "spec": {**(step.body.get("spec") or {}), "replicas": count}}
    reason = f"{LEFT}: the {count} pods of its autoscaler are kept"
    return replace(step, body=body, reason=reason, yields=(FIELD,))


def _managers(live: Json) -> set[str]:
    """Who sets the number of pods, as far as the server recorded it."""
    entries = managed_fields(live)
    return {e["manager"] for e in entries if "f:replicas" in ((e.get("fieldsV1") or {}).get("f:spec") or {})}


def _was_applied(live: Json) -> bool:
    """Whether `kubectl apply` set it, where nothing else is recorded."""
    text = annotations(live).get(COPY)
    try:
        return replicas_of(json.loads(text)) is not None if text else False
    except (ValueError, AttributeError):
        return False


def _autoscalers(connection: Connection, namespace: str) -> list[Json]:
    """The cluster's; none where it does not serve them, or we may not list them."""
    kind = connection.kinds.get(AUTOSCALER)
    if kind is None:
        return []
    try:
        return connection.api.list(kind.path(namespace), doing="list autoscalers")[0]
    except ApiError as error:
        if error.status == 403:
            return []
        raise
