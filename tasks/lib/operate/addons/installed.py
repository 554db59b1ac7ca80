"""What a cluster has of an add-on: its version, workloads and webhooks; and what an upgrade has to mind."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.cluster.kinds import listed
from tasks.lib.deploy.objects import Ref, ref_of
from tasks.lib.deploy.rollout.readiness import State, readiness
from tasks.lib.errors import Failure
from tasks.lib.image import reference
from tasks.lib.settings.model import AddOn

VERSION: Final = "app.kubernetes.io/version"
HELM: Final = "meta.helm.sh/release-name"
WORKLOADS: Final = (("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"))
WEBHOOKS: Final = (
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
)


@dataclass(frozen=True)
class Installed:
    """What there is of one add-on."""

    version: str = ""  # without v; empty where there is nothing
    problems: Sequence[str] = ()  # why it does not work, as sentences
    releases: Sequence[str] = ()  # of Helm, which installed it

    @property
    def is_there(self) -> bool:
        """Whether something of it runs, or should."""
        return bool(self.version or self.problems)


def look(connection: Connection, addon: AddOn) -> Installed:
    """What the cluster has of an add-on.

    Raises:
        ApiError: these credentials may not list it.

    """
    workloads = _listed(connection, WORKLOADS, addon.namespace)
    if not workloads:
        return Installed()
    webhooks = [one for one in _listed(connection, WEBHOOKS, "") if leads_to(one, addon.namespace)]
    states = [(ref_of(one), readiness(one)) for one in workloads]
    problems = [f"{ref}: {found.reason}" for ref, found in states if found.state is not State.READY]
    problems += [f"{ref_of(one)} has no caBundle yet" for one in webhooks if not is_trusted(one)]
    return Installed(version_of(workloads), problems, releases(workloads))


def _listed(connection: Connection, keys: Iterable[tuple[str, str]], namespace: str) -> list[Json]:
    kinds = [kind for key in keys if (kind := connection.kinds.get(key))]

    def read(number: int) -> list[Json]:
        return listed(connection.api, kinds[number], namespace)

    return [one for part in side_by_side(read, range(len(kinds)), len(kinds)) for one in part]


def version_of(workloads: Sequence[Json]) -> str:
    """The newest version that workloads carry as a label, or else as the tag of an image; without v."""
    labels = [str((one["metadata"].get("labels") or {}).get(VERSION, "")) for one in workloads]
    found = [text for text in labels if numbers(text)] or [text for one in workloads for text in _tags(one)]
    return max(found, key=numbers, default="").removeprefix("v")


def _tags(workload: Json) -> list[str]:
    containers = workload["spec"]["template"]["spec"]["containers"]
    tags = (reference.parse(str(one["image"])).tag for one in containers)
    return [tag for tag in tags if tag and numbers(tag)]


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, `v1.21.2` as (1, 21, 2); none of what is no version."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(one or 0) for one in match.groups()) if match else ()


def releases(workloads: Iterable[Json]) -> list[str]:
    """The releases of Helm that workloads belong to."""
    named = ((one["metadata"].get("annotations") or {}).get(HELM) for one in workloads)
    return sorted({str(name) for name in named if name})


def leads_to(webhooks: Json, namespace: str) -> bool:
    """Whether a webhook configuration calls a Service in this namespace."""
    services = (
        (one.get("clientConfig") or {}).get("service") or {} for one in webhooks.get("webhooks") or []
    )
    return any(one.get("namespace") == namespace for one in services)


def is_trusted(webhooks: Json) -> bool:
    """Whether every webhook that calls a Service says which authority its certificate is of."""
    clients = [one.get("clientConfig") or {} for one in webhooks.get("webhooks") or []]
    return all(one.get("caBundle") for one in clients if one.get("service"))


def is_webhook(ref: Ref) -> bool:
    """Whether an object configures webhooks."""
    return ref.key in WEBHOOKS


def require_no_downgrade(name: str, there: Installed, addon: AddOn) -> None:
    """Raise Failure where the cluster has a newer version than invoke.yaml wants."""
    if numbers(there.version) > numbers(addon.version):
        raise Failure(
            f"{name} {there.version} is installed, {addon.version} is older: nothing was changed.",
            "Downgrades are not supported: objects in the cluster may be of the newer version already.",
            f"Set addons.{name}.version in invoke.yaml to {there.version} or newer, with its sha256.",
        )


def notes(name: str, there: Installed, addon: AddOn, kubernetes: str) -> list[str]:
    """What to know before an add-on is applied, as sentences."""
    return [
        *([text] if (text := unsupported(name, addon, kubernetes)) else []),
        *([text] if (text := skipped(name, there, addon)) else []),
        *(_of_helm(addon, release) for release in there.releases),
    ]


def unsupported(name: str, addon: AddOn, kubernetes: str) -> str:
    """That the cluster's version is none that the add-on supports; empty where it is, or is not known."""
    oldest, newest, now = addon.kubernetes.oldest, addon.kubernetes.newest, numbers(kubernetes)[:2]
    if not now or numbers(oldest)[:2] <= now <= numbers(newest)[:2]:
        return ""
    minor = ".".join(map(str, now))
    return f"{name} {addon.version} supports Kubernetes {oldest} to {newest}; the cluster has {minor}."


def skipped(name: str, there: Installed, addon: AddOn) -> str:
    """That an upgrade leaves minor versions out; empty where it does not, or may."""
    before, after = numbers(there.version), numbers(addon.version)
    if not (addon.minor_by_minor and before) or before[0] != after[0] or after[1] - before[1] <= 1:
        return ""
    return (
        f"From {name} {there.version} to {addon.version} leaves out minor versions; its project tests "
        f"upgrades from each to the next. Set addons.{name}.version to {before[0]}.{before[1] + 1}.x first."
    )


def _of_helm(addon: AddOn, release: str) -> str:
    forget = f"kubectl -n {addon.namespace} delete secret -l owner=helm,name={release}"
    return f"Helm installed this as release {release}. Upgrade it only here from now on, then: {forget}"
