"""Pods that read a Secret or ConfigMap whose content changes under the same name, and so do not restart.

They keep the environment with which they started.  `deploy.restart_readers` notes a fingerprint of what pods
read on their template, so that they restart with it; otherwise people are told what to restart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import (
    Ref,
    Wanted,
    annotated,
    configuration_names,
    configuration_read,
    fingerprint,
)
from tasks.lib.deploy.steps import Action, Step

READ: Final = "lookit-orchestrator/read"  # fingerprint of the configuration that a template's pods read
CONFIGURATION: Final = frozenset({("", "Secret"), ("", "ConfigMap")})
WORKLOADS: Final = frozenset({("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet")})
WRITTEN: Final = frozenset({Action.CREATE, Action.CHANGE, Action.RECREATE})


def marked(objects: Sequence[Wanted]) -> list[Wanted]:
    """The same objects, the templates of workloads with the fingerprint of what their pods read of these."""
    return [_marked(w, objects) if _is_workload(w.ref) else w for w in objects]


def not_restarted(steps: Sequence[Step], results: Mapping[Ref, Json]) -> list[str]:
    """Which workloads read what changes and do not restart, and the command that restarts them.

    `results` are the objects as the dry run says they would be.
    """
    staying = [step for step in steps if _is_workload(step.ref) and _stays(step, results.get(step.ref))]
    changing = [step.ref for step in steps if _changes(step, results.get(step.ref))]
    found = ((ref, [reader.ref for reader in staying if _reads(reader, ref)]) for ref in changing)
    return [_note(ref, readers) for ref, readers in found if readers]


def _marked(w: Wanted, objects: Sequence[Wanted]) -> Wanted:
    template = w.body["spec"]["template"]
    read = configuration_read(template.get("spec") or {}, objects)
    if not read:
        return w
    noted = annotated({**template, "metadata": template.get("metadata") or {}}, {READ: fingerprint(read)})
    return Wanted(w.ref, {**w.body, "spec": {**w.body["spec"], "template": noted}})


def _is_workload(ref: Ref) -> bool:
    return (ref.group, ref.kind) in WORKLOADS


def _stays(step: Step, result: Json | None) -> bool:
    """Whether a workload's pods are not restarted."""
    if step.live is None or step.action is Action.RECREATE:
        return False
    return step.action is not Action.CHANGE or (
        result is not None and _template(result) == _template(step.live)
    )


def _template(workload: Json) -> Any:
    return (workload.get("spec") or {}).get("template")


def _changes(step: Step, result: Json | None) -> bool:
    """Whether pods that start now would read something else than those that run."""
    if (step.ref.group, step.ref.kind) not in CONFIGURATION or step.action not in WRITTEN:
        return False
    return _content(step.live or {}) != _content(result or step.body)


def _content(thing: Json) -> tuple[Json, Json]:
    return thing.get("data") or {}, thing.get("binaryData") or {}


def _reads(reader: Step, ref: Ref) -> bool:
    spec = (_template(reader.live or {}) or {}).get("spec") or {}
    return reader.ref.namespace == ref.namespace and (ref.kind, ref.name) in configuration_names(spec)


def _note(ref: Ref, readers: Sequence[Ref]) -> str:
    named = " ".join(f"{reader.kind.lower()}/{reader.name}" for reader in readers)
    return (
        f"{ref} changes, but its readers are not restarted: {', '.join(map(str, readers))}. "
        f"To restart them: kubectl -n {ref.namespace} rollout restart {named}"
    )
