"""The nouns of a deploy: an object's name in the cluster, its content, and fingerprints of both."""

import base64
import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.kinds import Kinds
from tasks.lib.render.pods import at, containers_of

APPLIED: Final = "lookit-orchestrator/applied"  # fingerprint of what was last applied
DEFINING: Final = "apiextensions.k8s.io/"
RAN: Final = "lookit-orchestrator/ran"  # fingerprint of what makes a Job worth running again


@dataclass(frozen=True, order=True)
class Ref:
    """An object's name; `namespace` is empty for objects of the whole cluster."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def group(self) -> str:
        """The API group; empty for the core one."""
        return self.api_version.rpartition("/")[0]

    @property
    def key(self) -> tuple[str, str]:
        """Version of the API and kind, by which the cluster's kinds go."""
        return self.api_version, self.kind

    @property
    def is_job(self) -> bool:
        """Whether it is a Job of Kubernetes itself; others have a kind of that name too."""
        return (self.group, self.kind) == ("batch", "Job")

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What stays the same in every version of the API: group, kind, namespace and name."""
        return self.group, self.kind, self.namespace, self.name

    def command(self, verb: str) -> str:
        """The kubectl command that does `verb` with this object, as a shell takes it."""
        where = f"-n {self.namespace} " if self.namespace else ""
        return f"kubectl {where}{verb} {self.kind.lower()} {shlex.quote(self.name)}"


@dataclass(frozen=True)
class Wanted:
    """An object as it should be."""

    ref: Ref
    body: Json  # what to apply, without this project's own annotations

    @property
    def digest(self) -> str:
        """A fingerprint of the whole content; it lies on the object itself, so it tells nobody more."""
        return fingerprint(self.body)


def wanted(contents: Iterable[Mapping[str, Any]], kinds: Kinds, namespace: str) -> list[Wanted]:
    """Name rendered objects, and put those that say no namespace into the environment's.

    A kind that the cluster does not know yet is namespaced, unless a rendered definition says otherwise.
    """
    listed = list(contents)
    scopes = scopes_to_come(listed)
    return [_wanted(content, kinds, scopes, namespace) for content in listed]


def ref_of(content: Mapping[str, Any]) -> Ref:
    """The name that a live object carries."""
    metadata = content["metadata"]
    return Ref(content["apiVersion"], content["kind"], metadata.get("namespace", ""), metadata["name"])


def scopes_to_come(contents: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], bool]:
    """Whether each kind that definitions among the objects will serve lies in a namespace."""
    return {
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): spec["scope"] == "Namespaced"
        for content in contents
        if content["kind"] == "CustomResourceDefinition" and content["apiVersion"].startswith(DEFINING)
        for spec in [content["spec"]]
        for version in spec.get("versions") or []  # v1beta1, which no cluster serves any more, also knew one
        if version.get("served", True)
    }


def fingerprint(content: object) -> str:
    """A SHA-256 of the content, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def annotations(thing: Json) -> dict[str, str]:
    """The annotations of an object; none where it has none."""
    return thing["metadata"].get("annotations") or {}


def managed_fields(thing: Json) -> list[Json]:
    """Who set which fields of an object, as the server recorded it."""
    return thing["metadata"].get("managedFields") or []


def annotated(body: Json, more: Mapping[str, str]) -> Json:
    """`body` with more annotations."""
    return {**body, "metadata": {**body["metadata"], "annotations": {**annotations(body), **more}}}


def job_fingerprint(job: Json, all_wanted: Sequence[Wanted]) -> str:
    """What makes a Job worth running again: its pods' specification and the configuration that they read.

    Labels and annotations are left out, because they change with every release.
    """
    spec = at(job, "spec.template.spec") or {}
    return fingerprint([spec, configuration_read(spec, all_wanted)])


def configuration_read(pod_spec: Json, all_wanted: Sequence[Wanted]) -> list[tuple[Any, ...]]:
    """The content of each ConfigMap and Secret among these objects that a pod reads, sorted by name."""
    names = configuration_names(pod_spec)
    read = [
        (w.ref.kind, w.ref.name, w.body.get("data"), w.body.get("binaryData"))
        for w in all_wanted
        if (w.ref.kind, w.ref.name) in names
    ]
    return sorted(read, key=lambda entry: entry[:2])


def is_going(thing: Json) -> bool:
    """Whether a live object is being deleted: it goes once nothing holds it back any more."""
    return bool((thing.get("metadata") or {}).get("deletionTimestamp"))


def is_job(thing: Mapping[str, Any]) -> bool:
    """Whether an object is a Job of Kubernetes itself; others have a kind of that name too."""
    return thing.get("kind") == "Job" and str(thing.get("apiVersion", "batch/")).startswith("batch/")


def configuration_names(pod_spec: Json) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that a pod reads, as (kind, name)."""
    found: set[tuple[str, str]] = set()
    for _, container in containers_of(pod_spec):
        for source in container.get("envFrom") or []:
            found |= _named(source.get("configMapRef"), source.get("secretRef"))
        for variable in container.get("env") or []:
            source = variable.get("valueFrom") or {}
            found |= _named(source.get("configMapKeyRef"), source.get("secretKeyRef"))
    for volume in pod_spec.get("volumes") or []:
        sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        for source in sources:
            found |= _named(source.get("configMap"), source.get("secret"))
    return found


def contains(live: object, body: object) -> bool:
    """Whether `live` says everything that `body` says: what the server added does not count.

    A value that the server spells otherwise (`500m` for `0.5`) reads as a difference; applying it again
    changes nothing, so that costs one request.
    """
    if isinstance(body, Mapping):
        return isinstance(live, Mapping) and all(
            value is None or (key in live and contains(live[key], value)) for key, value in body.items()
        )
    if isinstance(body, list):
        return (
            isinstance(live, list)
            and len(live) == len(body)
            and all(contains(there, here) for there, here in zip(live, body, strict=True))
        )
    return live == body


def as_stored(body: Json) -> Json:
    """The form in which the server keeps an object: a Secret's `stringData` moves into `data`.

    The server would remember that we set `stringData`, and so keep a key in `data` that is gone from it.
    What is malformed stays as it is, for the server to refuse.
    """
    texts, data = body.get("stringData") or {}, body.get("data") or {}
    if body.get("kind") != "Secret" or not (_are_texts(texts) and isinstance(data, Mapping)):
        return body
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
    rest = {key: value for key, value in body.items() if key != "stringData"}
    return {**rest, "data": {**data, **encoded}} if encoded else rest


def _are_texts(value: object) -> bool:
    """Whether it is a mapping from text to text that can be encoded: half a character cannot."""
    if not isinstance(value, Mapping):
        return False
    try:
        return all(
            isinstance(part, str) and part.encode() is not None for pair in value.items() for part in pair
        )
    except UnicodeEncodeError:
        return False


def _wanted(
    content: Mapping[str, Any], kinds: Kinds, scopes: Mapping[tuple[str, str], bool], namespace: str
) -> Wanted:
    key = (content["apiVersion"], content["kind"])
    kind = kinds.get(key)
    namespaced = kind.namespaced if kind else scopes.get(key, True)
    metadata = dict(content["metadata"])
    if namespaced:
        metadata["namespace"] = metadata.get("namespace") or namespace
    else:
        metadata.pop("namespace", None)
    body = as_stored({**content, "metadata": metadata})
    return Wanted(Ref(*key, metadata.get("namespace", ""), metadata["name"]), body)


def _named(config_map: Json | None, secret: Json | None) -> set[tuple[str, str]]:
    maps, secrets = config_map or {}, secret or {}
    names = (("ConfigMap", maps.get("name")), ("Secret", secrets.get("name") or secrets.get("secretName")))
    return {(kind, name) for kind, name in names if name and isinstance(name, str)}
