"""What the watches have told so far, indexed so that a workload's own pods are found at once."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.doom import Trouble, trouble
from tasks.lib.deploy.objects import Ref, ref_of

REVISION: Final = "deployment.kubernetes.io/revision"
TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"
# A Job deals with pods that end badly itself, by its backoffLimit.
LEFT_TO_THE_JOB: Final = frozenset({"CrashLoopBackOff"})


class View:
    """Live objects by name and by owner."""

    def __init__(self) -> None:
        self._by_ref: dict[Ref, Json] = {}
        self._owned: dict[str, dict[Ref, Json]] = defaultdict(dict)

    def get(self, ref: Ref) -> Json | None:
        """The object called `ref`, as last seen."""
        return self._by_ref.get(ref)

    def put(self, thing: Json) -> None:
        """Take in an object, unless a newer state of it is known."""
        ref = ref_of(thing)
        known = self._by_ref.get(ref)
        if known and _same(known, thing) and _older(thing, known):
            return
        if known:
            self.drop(known)
        self._by_ref[ref] = thing
        for owner in _owners(thing):
            self._owned[owner][ref] = thing

    def drop(self, thing: Json) -> None:
        """Forget an object."""
        ref = ref_of(thing)
        self._by_ref.pop(ref, None)
        for owner in _owners(thing):
            self._owned[owner].pop(ref, None)

    def replace_kind(self, kind: tuple[str, str], things: Iterable[Json]) -> None:
        """Take in a complete list of one kind: what is not in it is gone."""
        listed = list(things)
        names = {ref_of(thing) for thing in listed}
        for ref, thing in list(self._by_ref.items()):
            if (ref.api_version, ref.kind) == kind and ref not in names:
                self.drop(thing)
        for thing in listed:
            self.put(thing)

    def pods_of(self, workload: Json) -> list[Json]:
        """The pods that a workload made for its newest state; pods of earlier states are not judged."""
        metadata, status = workload["metadata"], workload.get("status") or {}
        owned = list(self._owned[metadata["uid"]].values())
        if workload["kind"] == "Job":
            return [thing for thing in owned if thing["kind"] == "Pod"]
        if metadata.get("generation", 0) > status.get("observedGeneration", 0):
            return []  # the controller has not acted on the newest state yet
        if workload["kind"] == "Deployment":
            sets = [rs for rs in owned if _annotation(rs, REVISION) == _annotation(workload, REVISION)]
            return [pod for rs in sets for pod in self._owned[rs["metadata"]["uid"]].values()]
        if workload["kind"] == "StatefulSet":
            return [p for p in owned if _label(p, "controller-revision-hash") == status.get("updateRevision")]
        generation = _annotation(workload, TEMPLATE_GENERATION)
        return [p for p in owned if _label(p, "pod-template-generation") == generation]

    def stuck_pods_of(self, workload: Json) -> list[tuple[Trouble, Json]]:
        """Broken pods of an earlier state of a StatefulSet, whose controller waits for them to become ready.

        Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
        """
        if workload["kind"] != "StatefulSet":
            return []
        newest = self.pods_of(workload)
        if not (workload.get("status") or {}).get("updateRevision"):
            return []
        earlier = [p for p in self._owned[workload["metadata"]["uid"]].values() if p not in newest]
        return [(t, pod) for pod in earlier if (t := trouble(pod))]

    def trouble_of(self, workload: Json) -> tuple[Trouble, Json] | None:
        """The worst trouble among a workload's newest pods, with the pod that has it."""
        found = [(t, pod) for pod in self.pods_of(workload) if (t := trouble(pod))]
        if workload["kind"] == "Job":
            found = [(t, pod) for t, pod in found if t.reason not in LEFT_TO_THE_JOB]
        return min(found, key=lambda pair: pair[0].patience, default=None)


def _owners(thing: Json) -> list[str]:
    return [
        owner["uid"] for owner in thing["metadata"].get("ownerReferences") or [] if owner.get("controller")
    ]


def _same(one: Json, other: Json) -> bool:
    return bool(one["metadata"].get("uid") == other["metadata"].get("uid"))


def _older(one: Json, other: Json) -> bool:
    """Whether `one` is an earlier state than `other`: versions of one object are comparable since 1.35,
    and have always been ascending numbers in practice.
    """
    first, second = one["metadata"].get("resourceVersion", ""), other["metadata"].get("resourceVersion", "")
    return first.isdigit() and second.isdigit() and int(first) < int(second)


def _annotation(thing: Json, name: str) -> str:
    return str((thing["metadata"].get("annotations") or {}).get(name, ""))


def _label(thing: Json, name: str) -> str:
    return str((thing["metadata"].get("labels") or {}).get(name, ""))
