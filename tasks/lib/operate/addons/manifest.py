"""The manifest of an add-on: fetched once, compared with the digest in invoke.yaml, and kept here."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tasks.lib.background import call
from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import annotations, fingerprint
from tasks.lib.errors import Failure
from tasks.lib.files import make_folders, write_atomically
from tasks.lib.render import documents
from tasks.lib.settings.model import AddOn, Environment, Settings

KEPT: Final = "build/addons"
HOOK: Final = "helm.sh/hook"
# Objects of other hooks, such as tests, are no part of an installation.
INSTALLING: Final = frozenset({"pre-install", "post-install", "pre-upgrade", "post-upgrade"})
OK: Final = 200


def contents(settings: Settings, environment: Environment, name: str) -> list[Json]:
    """The objects of an add-on as they are wanted in an environment's cluster.

    Raises:
        Failure: the manifest cannot be fetched, its digest is another or not known yet, or it cannot be read.

    """
    addon = settings.addons[name]
    text = fetched(settings, name, addon).decode()
    address = addon.addresses.get(environment.name, "")
    return [_with_address(one, address) for one in objects(text, name)]


def fetched(settings: Settings, name: str, addon: AddOn) -> bytes:
    """The manifest with the digest in invoke.yaml, from this machine if it was fetched before.

    Raises:
        Failure: it cannot be fetched, or its digest is another or not known yet.

    """
    kept = settings.root / KEPT / f"{name}-{addon.sha256}.yaml"
    if addon.sha256 and kept.is_file() and _digest(data := kept.read_bytes()) == addon.sha256:
        return data
    data = _download(addon.address, settings.time_limits.addons, kept if addon.sha256 else None)
    _require_digest(name, addon, _digest(data))
    make_folders(kept.parent)
    write_atomically(kept, data, 0o644)
    return data


def objects(text: str, name: str) -> list[Json]:
    """The objects in a manifest; those of hooks that do not belong to an installation are left out.

    Raises:
        Failure: it is no YAML, or holds something else than objects.

    """
    found = [dict(one.content) for one in documents.split(text) if one.content]
    for one in found:
        _require_object(one, name)
    return [_named(one) for one in found if _is_installed(one)]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _download(address: str, seconds: float, kept: Path | None) -> bytes:
    import requests

    by_hand = f"Or copy the file to {kept} by hand." if kept else ""
    try:
        answer = call(requests.get, address, timeout=seconds)
    except requests.RequestException as error:
        next_step = f"Check the network or proxy, then run the same again. {by_hand}".strip()
        raise Failure(f"{address} could not be fetched.", str(error), next_step) from error
    if answer.status_code != OK:
        why = f"The server answered {answer.status_code}."
        next_step = f"Check addons in invoke.yaml. {by_hand}".strip()
        raise Failure(f"{address} could not be fetched.", why, next_step)
    return answer.content


def _require_digest(name: str, addon: AddOn, found: str) -> None:
    if found == addon.sha256:
        return
    if addon.sha256:
        raise Failure(
            f"The manifest of {name} {addon.version} is not the expected one: nothing was changed.",
            f"{addon.address}\nexpected SHA-256 {addon.sha256}\nfound            {found}",
            f"If the version was changed, compare with what the project publishes, then set "
            f"addons.{name}.sha256 in invoke.yaml.",
        )
    raise Failure(
        f"The digest of {name} {addon.version} is not known yet: nothing was changed.",
        f"{addon.address} has the SHA-256 {found} now, as this server sends it.",
        f"Read that file, or compare with another source, then write it into invoke.yaml: "
        f"addons.{name}.sha256: {found}",
    )


def _require_object(content: Mapping[str, Any], name: str) -> None:
    metadata = content.get("metadata")
    named = isinstance(metadata, Mapping) and (metadata.get("name") or metadata.get("generateName"))
    if not (content.get("apiVersion") and content.get("kind") and named):
        raise Failure(
            f"The manifest of {name} holds something else than objects.",
            f"It has a document with {', '.join(sorted(map(str, content))) or 'nothing'}.",
            f"Check addons.{name}.manifest in invoke.yaml.",
        )


def _is_installed(content: Json) -> bool:
    """Whether an object belongs to an installation: it is no hook, or one of these."""
    hooks = annotations(content).get(HOOK)
    return hooks is None or not INSTALLING.isdisjoint(one.strip() for one in hooks.split(","))


def is_run_last(content: Json) -> bool:
    """Whether a hook wants an object after all others."""
    hooks = annotations(content).get(HOOK, "")
    return "post-install" in hooks or "post-upgrade" in hooks


def _named(content: Json) -> Json:
    """An object with a generated name gets one that only changes with its content, so it runs once."""
    metadata = content["metadata"]
    if "name" in metadata:
        return content
    rest = {key: value for key, value in metadata.items() if key != "generateName"}
    name = f"{metadata['generateName']}{fingerprint(content)[:10]}"
    return {**content, "metadata": {**rest, "name": name}}


def _with_address(content: Json, address: str) -> Json:
    """A load balancer with this address; others as they are."""
    if not address or not is_load_balancer(content):
        return content
    return {**content, "spec": {**content["spec"], "loadBalancerIP": address}}


def is_load_balancer(content: Json) -> bool:
    """Whether an object is a Service with an address of its own."""
    is_service = (content["apiVersion"], content["kind"]) == ("v1", "Service")
    return is_service and (content.get("spec") or {}).get("type") == "LoadBalancer"
