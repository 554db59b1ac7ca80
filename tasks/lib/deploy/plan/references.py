"""What workloads, claims and Ingresses refer to, and whether it exists: else their pods never start.

Source of what a kubelet insists on: https://kubernetes.io/docs/concepts/configuration/secret/ and
https://kubernetes.io/docs/concepts/configuration/configmap/ (`optional` among it).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib.cluster import rbac
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy.objects import Ref, annotations
from tasks.lib.deploy.plan.decide import get
from tasks.lib.deploy.plan.plan import Destination, Planned
from tasks.lib.deploy.steps import Action
from tasks.lib.errors import Failure, nearest
from tasks.lib.render.pods import at, containers_of, pod_specs

CONFIGURATION: Final = frozenset({"Secret", "ConfigMap"})
TEXTS: Final = ("data", "stringData")
# What fills in a service account's token.
TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type, no secret
TOKEN_KEYS: Final = frozenset({"token", "ca.crt", "namespace"})
# An Ingress with one of these gets its TLS Secrets from cert-manager.
# Source: https://cert-manager.io/docs/usage/ingress/#supported-annotations
ISSUED: Final = ("cert-manager.io/cluster-issuer", "cert-manager.io/issuer", "kubernetes.io/tls-acme")
TOLD: Final = 20
SHOWN_KEYS: Final = 5


@dataclass(frozen=True)
class Need:
    """One reference."""

    place: str  # who refers, in words: `Deployment web, container uwsgi`
    target: Ref
    key: str = ""  # the key of a Secret or ConfigMap, or the port of a Service; empty for the whole
    # Where the key may be; an environment variable takes no binary data.
    fields: tuple[str, ...] = (*TEXTS, "binaryData")


def require(to: Destination, planned: Planned) -> None:
    """Raise Failure where the plan's pods and Ingresses name what is neither rendered nor in the cluster.

    What settings list as provided, something else creates in time.
    """
    running = [step for step in planned.steps if step.action is not Action.SKIP]
    bodies = {step.ref: step.wanted.body for step in running}
    there = {
        step.ref: planned.results.get(step.ref) or (step.live if not step.writes else None) or step.body
        for step in planned.steps
    }
    needs = [need for ref, body in bodies.items() for need in needs_of(ref, body)]
    made = {target for ref, body in bodies.items() for target in made_later(ref, body)}
    provided, prefix = to.settings.deploy.provided, to.environment.prefix
    made |= {n.target for n in needs if f"{n.target.kind}/{n.target.name.removeprefix(prefix)}" in provided}
    due = [need for need in needs if need.target not in made]
    targets = {need.target for need in due} - there.keys()
    hidden = _unreadable(to.connection, targets)
    there |= _looked_up(to.connection, targets - hidden)
    if lacking := missing([need for need in due if need.target not in hidden], there):
        raise _failure(lacking)


def needs_of(ref: Ref, body: Json) -> Iterator[Need]:
    """Everything that an object names and cannot do without."""
    for spec in pod_specs(body):
        yield from _of_pod(ref, spec)
    if ref.kind == "PersistentVolumeClaim":
        yield from _class_of(str(ref), body)
    if (ref.group, ref.kind) == ("apps", "StatefulSet"):
        yield from _of_stateful_set(ref, body.get("spec") or {})
    if (ref.group, ref.kind) == ("", "ServiceAccount"):
        yield from _pulls(ref, str(ref), body)
    if (ref.group, ref.kind) == ("networking.k8s.io", "Ingress"):
        yield from _of_ingress(ref, body)


def made_later(ref: Ref, body: Json) -> Iterator[Ref]:
    """What controllers create because of an object: certificates' Secrets, claims of a StatefulSet's pods."""
    spec = at(body, "spec") or {}
    match ref.group, ref.kind:
        case "networking.k8s.io", "Ingress":
            if annotations(body).keys() & {*ISSUED}:
                yield from (need.target for need in _tls(ref, spec))
        case "cert-manager.io", "Certificate":
            yield _core("Secret", ref, str(at(spec, "secretName")))
        case "bitnami.com", "SealedSecret":
            yield _core("Secret", ref, ref.name)
        case "external-secrets.io", "ExternalSecret":
            yield _core("Secret", ref, str(at(spec, "target.name") or ref.name))
        case "apps", "StatefulSet":
            yield from _claims(ref, spec)


def _claims(ref: Ref, spec: Json) -> Iterator[Ref]:
    """The claims of a StatefulSet's pods."""
    replicas = spec.get("replicas")
    for template in spec.get("volumeClaimTemplates") or []:
        for number in range(1 if replicas is None else replicas):
            name = f"{(template.get('metadata') or {}).get('name')}-{ref.name}-{number}"
            yield _core("PersistentVolumeClaim", ref, name)


def missing(needs: Iterable[Need], there: Mapping[Ref, Json]) -> list[str]:
    """The references that lead nowhere, each once, in words."""
    lines: dict[str, None] = {}
    for need in needs:
        thing = there.get(need.target)
        if thing is None:
            lines[f"{need.place}: {need.target} does not exist{_nearest_name(need.target, there)}"] = None
        elif need.key and need.key not in (keys := keys_of(thing, need.fields)) and not _is_elsewhere(thing):
            word = "port" if need.target.kind == "Service" else "key"
            lines[f"{need.place}: {need.target} has no {word} {need.key}{_nearest(need.key, keys)}"] = None
    return list(lines)


def keys_of(thing: Json, fields: Sequence[str]) -> list[str]:
    """The keys that a Secret or ConfigMap has in these fields; the names and numbers of a Service's ports."""
    if thing.get("kind") == "Service":
        ports = (thing.get("spec") or {}).get("ports") or []
        return [str(port[name]) for name in ("name", "port") for port in ports if port.get(name)]
    filled_in = TOKEN_KEYS if thing.get("type") == TOKEN else ()
    return sorted({key for field in fields for key in thing.get(field) or {}}.union(filled_in))


def _is_elsewhere(thing: Json) -> bool:
    """Whether a Service only names another host, which has whatever ports it has."""
    return thing.get("kind") == "Service" and (thing.get("spec") or {}).get("type") == "ExternalName"


def _of_pod(ref: Ref, spec: Json) -> Iterator[Need]:
    for title, container in containers_of(spec):
        yield from _of_container(ref, f"{ref}, {title}", container)
    for volume in spec.get("volumes") or []:
        yield from _of_volume(ref, f"{ref}, {_volume_in_words(spec, volume)}", volume)
    yield from _pulls(ref, str(ref), spec)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account and account != "default":  # every namespace gets that one by itself
        yield Need(str(ref), _core("ServiceAccount", ref, account))
    if name := spec.get("priorityClassName"):
        yield Need(str(ref), Ref("scheduling.k8s.io/v1", "PriorityClass", "", name))


def _of_stateful_set(ref: Ref, spec: Json) -> Iterator[Need]:
    if name := spec.get("serviceName"):
        yield Need(f"{ref}, serviceName", _core("Service", ref, name))
    for template in spec.get("volumeClaimTemplates") or []:
        yield from _class_of(f"{ref}, claim template {at(template, 'metadata.name')}", template)


def _class_of(place: str, claim: Json) -> Iterator[Need]:
    if name := at(claim, "spec.storageClassName"):
        yield Need(place, Ref("storage.k8s.io/v1", "StorageClass", "", name))


def _of_container(ref: Ref, place: str, container: Json) -> Iterator[Need]:
    for source in container.get("envFrom") or []:
        for kind, field in (("Secret", "secretRef"), ("ConfigMap", "configMapRef")):
            yield from _unless_optional(ref, place, kind, source.get(field), "name")
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        for kind, field in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
            named = source.get(field) or {}
            if named.get("name") and not named.get("optional"):
                yield Need(place, _core(kind, ref, named["name"]), named.get("key") or "", TEXTS)


def _of_volume(ref: Ref, place: str, volume: Json) -> Iterator[Need]:
    if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
        yield Need(place, _core("PersistentVolumeClaim", ref, claim))
    yield from _unless_optional(ref, place, "Secret", volume.get("secret"), "secretName")
    yield from _unless_optional(ref, place, "ConfigMap", volume.get("configMap"), "name")
    for source in (volume.get("projected") or {}).get("sources") or []:
        yield from _unless_optional(ref, place, "Secret", source.get("secret"), "name")
        yield from _unless_optional(ref, place, "ConfigMap", source.get("configMap"), "name")


def _unless_optional(ref: Ref, place: str, kind: str, named: Json | None, field: str) -> Iterator[Need]:
    if not named or named.get("optional") or not named.get(field):
        return
    for key in [item.get("key") or "" for item in named.get("items") or []] or [""]:
        yield Need(place, _core(kind, ref, named[field]), key)


def _pulls(ref: Ref, place: str, holder: Json) -> Iterator[Need]:
    for one in holder.get("imagePullSecrets") or []:
        if name := one.get("name"):
            yield Need(f"{place}, image pull secret", _core("Secret", ref, name))


def _of_ingress(ref: Ref, body: Json) -> Iterator[Need]:
    spec = body.get("spec") or {}
    yield from _tls(ref, spec)
    paths = [p for rule in spec.get("rules") or [] for p in (rule.get("http") or {}).get("paths") or []]
    for backend in [spec.get("defaultBackend"), *(path.get("backend") for path in paths)]:
        service = (backend or {}).get("service") or {}
        port = service.get("port") or {}
        if name := service.get("name"):
            key = str(port.get("name") or port.get("number") or "")
            yield Need(f"{ref}, backend", _core("Service", ref, name), key)


def _tls(ref: Ref, spec: Json) -> Iterator[Need]:
    for one in spec.get("tls") or []:
        if name := one.get("secretName"):
            yield Need(f"{ref}, TLS", _core("Secret", ref, name))


def _volume_in_words(spec: Json, volume: Json) -> str:
    name = volume.get("name")
    mounting = [
        title
        for title, container in containers_of(spec)
        if any(mount.get("name") == name for mount in container.get("volumeMounts") or [])
    ]
    return f"volume {name}" + (f" of {', '.join(mounting)}" if mounting else "")


def _core(kind: str, ref: Ref, name: str) -> Ref:
    """Something of the core group beside `ref`."""
    return Ref("v1", kind, ref.namespace, name)


def _unreadable(connection: Connection, targets: Collection[Ref]) -> set[Ref]:
    """The targets outside namespaces that we may not read, as few accounts may: the cluster checks these."""
    kinds = connection.kinds
    whole = {one: kind for one in targets if (kind := kinds.get(one.key)) and not kind.namespaced}
    lacking = rbac.missing(connection.api, rbac.to_read((kind, "") for kind in whole.values()))
    plurals = {(one.group, one.resource) for one in lacking}
    return {one for one, kind in whole.items() if (kind.group, kind.plural) in plurals}


def _looked_up(connection: Connection, targets: Collection[Ref]) -> dict[Ref, Json]:
    """Those of the targets that the cluster has."""
    kinds = connection.kinds
    known = [target for target in sorted(targets) if target.key in kinds]
    places = {(kinds[one.key], one.namespace) for one in known}
    rbac.require(connection.api, rbac.to_read(places))
    found = {one: get(connection.api, kinds[one.key], one) for one in known}
    return {one: thing for one, thing in found.items() if thing}


def _nearest_name(target: Ref, there: Mapping[Ref, Json]) -> str:
    names = [ref.name for ref in there if (ref.kind, ref.namespace) == (target.kind, target.namespace)]
    near = nearest(target.name, names)
    return f"; nearest: {near}" if near else ""


def _nearest(key: str, keys: Sequence[str]) -> str:
    if near := nearest(key, keys):
        return f"; nearest: {near}"
    rest = f" and {len(keys) - SHOWN_KEYS} others" if len(keys) > SHOWN_KEYS else ""
    return f"; it has {', '.join(keys[:SHOWN_KEYS])}{rest}" if keys else "; it has none"


def _failure(lacking: Sequence[str]) -> Failure:
    more = [f"and {len(lacking) - TOLD} others"] if len(lacking) > TOLD else []
    return Failure(
        "The manifests refer to objects that do not exist: nothing was changed.",
        "\n".join([*lacking[:TOLD], *more]),
        "Correct the name, add what is missing, or write `optional: true` where a pod can do without it. "
        "What something else creates in time belongs in deploy.provided (invoke.yaml).",
    )
