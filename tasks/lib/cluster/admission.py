"""Who might change or refuse objects of a kind when they are written: webhooks, admission policies, quotas.

Read as a whole, one LIST each, and judged by kind alone: a selector or condition that leaves some objects out
does not count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.kinds import Kind, Kinds
from tasks.lib.cluster.refusal import ApiError

GROUP: Final = "admissionregistration.k8s.io"
WEBHOOKS: Final = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
POLICIES: Final = ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")


@dataclass(frozen=True)
class Admission:
    """All that has a say in one namespace.

    Args:
        rules: which resources webhooks and policies want to see.
        counted: what quotas of the namespace count, as they name it.

    """

    rules: tuple[Json, ...]
    counted: frozenset[str]

    def may_refuse(self, kind: Kind) -> bool:
        """Whether anybody might change or refuse an object of this kind."""
        return any(_matches(rule, kind) for rule in self.rules)

    def counts(self, kind: Kind) -> bool:
        """Whether there may be one more of this kind only if a quota has room."""
        dotted = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        return bool({kind.plural, f"count/{dotted}"} & self.counted)


def read(api: Api, kinds: Kinds, namespace: str) -> Admission | None:
    """Ask the cluster; None where it does not tell us all of it."""
    served = {kind.kind: kind for kind in kinds.values() if kind.group == GROUP}
    asked = [served[name].path() for name in (*WEBHOOKS, *POLICIES) if name in served]
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    try:
        found = side_by_side(
            lambda path: api.list(path, doing=f"list {path}")[0], [*asked, quotas], CONNECTIONS
        )
    except ApiError:
        return None
    listed = (thing for part in found[:-1] for thing in part)
    return Admission(tuple(rules(listed)), frozenset(counted(found[-1])))


def rules(things: Iterable[Json]) -> list[Json]:
    """What configurations of webhooks, and policies, want to see; a policy that does not say, all."""
    found: list[Json] = []
    for thing in things:
        if "spec" in thing:
            constraints = thing["spec"].get("matchConstraints") or {}
            found += constraints.get("resourceRules") or [{"apiGroups": ["*"], "resources": ["*"]}]
        else:
            found += [rule for webhook in thing.get("webhooks") or [] for rule in webhook.get("rules") or []]
    return found


def counted(quotas: Iterable[Json]) -> set[str]:
    """What quotas limit: `configmaps`, `count/configmaps`, `requests.cpu` and so on."""
    return {name for quota in quotas for name in (quota.get("spec") or {}).get("hard") or {}}


def _matches(rule: Mapping[str, Sequence[str]], kind: Kind) -> bool:
    groups = rule.get("apiGroups") or ()
    return ("*" in groups or kind.group in groups) and any(
        _is_of(resource, kind) for resource in rule.get("resources") or ()
    )


def _is_of(resource: str, kind: Kind) -> bool:
    """Whether `configmaps`, `*`, `*/*` or `pods/log` means objects of this kind themselves."""
    name, _, part = resource.partition("/")
    return name in {"*", kind.plural} and part in {"", "*"}
