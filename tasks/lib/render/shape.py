"""The form that objects need before anything reads them, where a schema allows more or is missing.

Published schemas accept null almost everywhere, and know neither base64 nor custom resources.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.lib.render.pods import at

NAMES = ("apiVersion", "kind", "metadata.name")
# Kinds that need a container, and where their pods are.
RUNS_PODS = {
    ("v1", "Pod"): "spec",
    ("v1", "ReplicationController"): "spec.template.spec",
    ("batch/v1", "Job"): "spec.template.spec",
    ("batch/v1", "CronJob"): "spec.jobTemplate.spec.template.spec",
    **{
        ("apps/v1", kind): "spec.template.spec"
        for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
    },
}


def problem(content: Any) -> str:
    """What is wrong with the form of an object, with the field; empty where nothing is."""
    return "; ".join(list(_of_head(content)) or [*_of_secret(content), *_of_pods(content)])


def empty_item(value: Any) -> str:
    """Where a list holds null, which Kubernetes' own lists may not; empty where none does."""
    return next((f"{path}: is empty" for path in _empty_items(value)), "")


def without_nulls(value: Any) -> Any:
    """The same without members that are null: Kubernetes treats them as absent."""
    if isinstance(value, Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _of_head(content: Any) -> Iterator[str]:
    """What every object has."""
    if not isinstance(content, Mapping):
        yield "it is not a mapping with apiVersion, kind and metadata"
        return
    yield from (f"{field}: missing" for field in NAMES if at(content, field) in (None, ""))
    for field in (*NAMES, "metadata.namespace"):
        if (value := at(content, field)) is not None and not _is_text(value):
            yield f"{field}: should be text"
    for field in ("metadata.labels", "metadata.annotations"):
        if not _holds_texts(at(content, field)):
            yield f"{field}: should be a mapping of texts"


def _of_secret(content: Mapping[str, Any]) -> Iterator[str]:
    is_secret = (content["apiVersion"], content["kind"]) == ("v1", "Secret")
    data = content.get("data") if is_secret else None
    for key, value in data.items() if isinstance(data, Mapping) else ():
        if isinstance(value, str) and not _is_base64(value):
            yield f"data.{key}: is not base64; plain text belongs under stringData"


def _of_pods(content: Mapping[str, Any]) -> Iterator[str]:
    """Pods without containers."""
    path = RUNS_PODS.get((content["apiVersion"], content["kind"]), "")
    if path and not at(content, f"{path}.containers"):
        yield f"{path}.containers: missing"


def _empty_items(value: Any, path: str = "") -> Iterator[str]:
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in items:
        here = f"{path}.{key}" if path else str(key)
        if inner is None and isinstance(value, list):
            yield here
        yield from _empty_items(inner, here)


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be sent: YAML's escapes can write halves of characters."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _holds_texts(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return value is None
    return all(isinstance(key, str) and (inner is None or _is_text(inner)) for key, inner in value.items())


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(re.sub(r"[\r\n]", "", value), validate=True)
    except (ValueError, binascii.Error):
        return False
    return True
