"""In which order objects go in: phases from settings, and ranks within a phase."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from tasks.lib.deploy.objects import Ref, Wanted

if TYPE_CHECKING:
    from tasks.lib.settings.deploy import Phase

WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob", "ReplicaSet", "Pod"})
# Others lean on these: kinds before their objects, accounts before the tokens that belong to them.
FIRST: Final = frozenset({"Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass"})
SECOND: Final = frozenset({"ServiceAccount", "ConfigMap", "Role", "ClusterRole"})


@dataclass(frozen=True)
class Group:
    """The objects of one phase, in the order in which they are applied."""

    title: str
    objects: tuple[Wanted, ...]


def arrange(objects: Sequence[Wanted], phases: "Sequence[Phase]", prefix: str) -> list[Group]:
    """Put each object into its phase; phases without objects are left out.

    `Kind/name` in a phase wins over `Kind`.  A kind that no phase names goes with the last phase that takes
    Deployments if it runs pods, else into the first phase.

    `prefix` is what the overlay puts before names, and phases leave out.

    """
    places = [_place(w.ref, phases, prefix) for w in objects]
    return [
        Group(phase.title, tuple(sorted(chosen, key=lambda w: rank(w.ref.kind))))
        for number, phase in enumerate(phases)
        if (chosen := [w for w, place in zip(objects, places, strict=True) if place == number])
    ]


def rank(kind: str) -> int:
    """The place of a kind within its phase: 0, 1 or 2."""
    return 0 if kind in FIRST else 1 if kind in SECOND else 2


def ranks(objects: Iterable[Wanted]) -> list[list[Wanted]]:
    """Objects of one phase in batches; those of a batch may be applied at the same time."""
    ordered = sorted(objects, key=lambda w: rank(w.ref.kind))
    return [list(batch) for _, batch in groupby(ordered, key=lambda w: rank(w.ref.kind))]


def _place(ref: Ref, phases: "Sequence[Phase]", prefix: str) -> int:
    bare = ref.name.removeprefix(prefix)
    for label in (f"{ref.kind}/{bare}", ref.kind):
        for number, phase in enumerate(phases):
            if label in phase.objects:
                return number
    if ref.kind not in WORKLOADS:
        return 0
    return max(
        (n for n, phase in enumerate(phases) if "Deployment" in phase.objects), default=len(phases) - 1
    )
