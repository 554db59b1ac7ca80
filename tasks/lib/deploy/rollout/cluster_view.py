"""What the watches have told so far, indexed so that a workload's own pods are found at once."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import Ref, annotations, is_job, ref_of
from tasks.lib.deploy.rollout import diagnose
from tasks.lib.deploy.rollout.failure_rules import Problem

REVISION: Final = "deployment.kubernetes.io/revision"
TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"
# They say which state their controller has acted on.
OBSERVED: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"})
# A Job deals with pods that end badly itself, by its backoffLimit.
LEFT_TO_THE_JOB: Final = frozenset({"CrashLoopBackOff", "Error", "OOMKilled", "Evicted"})


class Warnings:
    """Events of type Warning, by the object that they are about.

    An event outlives its cause by an hour.  So one that was there before we watched counts only where it is
    not older than our own last write; one that arrives while we watch always counts.
    """

    def __init__(self) -> None:
        self._about: dict[str, dict[str, Json]] = defaultdict(dict)
        self._arrived: set[str] = set()

    def put(self, event: Json, *, arrived: bool) -> None:
        """Take in an event; `arrived` where it came while we watched."""
        self._about[_subject(event)][event["metadata"]["uid"]] = event
        if arrived:
            self._arrived.add(event["metadata"]["uid"])

    def drop(self, event: Json) -> None:
        """Forget an event."""
        self._about[_subject(event)].pop(event["metadata"]["uid"], None)

    def about(self, thing: Json) -> list[Json]:
        """The newest event of each reason about an object."""
        newest: dict[str, Json] = {}
        for event in sorted(self._about.get(thing["metadata"]["uid"], {}).values(), key=diagnose.last_seen):
            newest[event.get("reason", "")] = event
        return list(newest.values())

    def is_recent(self, event: Json, since: str) -> bool:
        """Whether an event is about the present; `since`: our last write by the server's clock, or empty."""
        return event["metadata"]["uid"] in self._arrived or bool(since and diagnose.last_seen(event) >= since)


class View:
    """Live objects by name and by owner."""

    def __init__(self) -> None:
        self._by_ref: dict[Ref, Json] = {}
        self._owned: dict[str, dict[Ref, Json]] = defaultdict(dict)
        self._warnings = Warnings()

    def get(self, ref: Ref) -> Json | None:
        """The object called `ref`, as last seen."""
        return self._by_ref.get(ref)

    def put(self, thing: Json, *, arrived: bool = True) -> None:
        """Take in an object, unless a newer state of it is known; `arrived`: it came while we watched."""
        if thing["kind"] == "Event":
            self._warnings.put(thing, arrived=arrived)
            return
        ref = ref_of(thing)
        known = self._by_ref.get(ref)
        is_same = known and known["metadata"].get("uid") == thing["metadata"].get("uid")
        if known and is_same and _older(thing, known):
            return
        if known:
            self.drop(known)
        self._by_ref[ref] = thing
        for owner in _owners(thing):
            self._owned[owner][ref] = thing

    def drop(self, thing: Json) -> None:
        """Forget an object."""
        if thing["kind"] == "Event":
            self._warnings.drop(thing)
            return
        ref = ref_of(thing)
        self._by_ref.pop(ref, None)
        for owner in _owners(thing):
            self._owned[owner].pop(ref, None)

    def replace_kind(self, kind: tuple[str, str], namespace: str, things: Iterable[Json]) -> None:
        """Take in a complete list of one kind in a namespace: what is not in it is gone."""
        listed = list(things)
        names = {ref_of(thing) for thing in listed}
        for ref, thing in list(self._by_ref.items()):
            listed_here = (ref.key, ref.namespace) == (kind, namespace)
            if listed_here and ref not in names:
                self.drop(thing)
        for thing in listed:
            self.put(thing, arrived=False)

    def pods_of(self, workload: Json) -> list[Json]:
        """The pods that a workload made for its newest state; pods of earlier states are not judged."""
        if workload["kind"] == "Pod":
            return [workload]
        status = workload.get("status") or {}
        owned = list(self._owned[workload["metadata"]["uid"]].values())
        if workload["kind"] in {"Job", "ReplicaSet", "ReplicationController"}:
            return [thing for thing in owned if thing["kind"] == "Pod"]
        if _unseen(workload):
            return []
        if workload["kind"] == "Deployment":
            sets = self._newest_sets(workload)
            return [pod for rs in sets for pod in self._owned[rs["metadata"]["uid"]].values()]
        if workload["kind"] == "StatefulSet":
            return [p for p in owned if _label(p, "controller-revision-hash") == status.get("updateRevision")]
        generation = _annotation(workload, TEMPLATE_GENERATION)
        return [p for p in owned if _label(p, "pod-template-generation") == generation]

    def stuck_pods_of(self, workload: Json) -> list[tuple[Problem, Json]]:
        """Broken pods of an earlier state of a StatefulSet, whose controller waits for them to become ready.

        Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
        """
        if workload["kind"] != "StatefulSet" or _unseen(workload):
            return []
        newest = self.pods_of(workload)
        if not (workload.get("status") or {}).get("updateRevision"):
            return []
        owned = [one for one in self._owned[workload["metadata"]["uid"]].values() if one["kind"] == "Pod"]
        earlier = [pod for pod in owned if pod not in newest and not _is_held(pod, workload["spec"])]
        return [(found[0], pod) for pod in earlier if (found := self._of_pod(pod))]

    def problems_of(self, workload: Json, since: str = "") -> list[tuple[Problem, Json | None]]:
        """What is wrong with a workload, the worst first, each with the pod that shows it, if one does.

        `since` is when this deploy wrote it, by the server's clock; empty where it did not.
        """
        if _unseen(workload):
            return []
        pods = self.pods_of(workload)
        found: list[tuple[Problem, Json | None]] = [(t, pod) for pod in pods for t in self._of_pod(pod)]
        if is_job(workload):
            found = [(t, pod) for t, pod in found if t.reason not in LEFT_TO_THE_JOB]
        if workload["kind"] == "PersistentVolumeClaim":
            found += [(t, None) for t in diagnose.of_claim(workload, *self._warned(workload, since))]
        found += [(t, None) for t in [*self._of_claims(pods, since), *self._of_itself(workload, since)]]
        return sorted(found, key=lambda pair: pair[0].patience)

    def _of_pod(self, pod: Json) -> list[Problem]:
        return diagnose.of_pod(pod, self._warnings.about(pod))

    def _of_claims(self, pods: Iterable[Json], since: str) -> list[Problem]:
        places = {(pod["metadata"]["namespace"], name) for pod in pods for name in diagnose.claims_of(pod)}
        refs = [Ref("v1", "PersistentVolumeClaim", namespace, name) for namespace, name in sorted(places)]
        claims = [claim for ref in refs if (claim := self._by_ref.get(ref))]
        return [t for claim in claims for t in diagnose.of_claim(claim, *self._warned(claim, since))]

    def _of_itself(self, workload: Json, since: str) -> list[Problem]:
        pods = [
            thing for thing in self._owned[workload["metadata"]["uid"]].values() if thing["kind"] == "Pod"
        ]
        sets = self._newest_sets(workload) if workload["kind"] == "Deployment" else [workload]
        return diagnose.of_workload(workload, sets, pods, *self._warned(workload, since))

    def _warned(self, thing: Json, since: str) -> tuple[list[Json], list[Json]]:
        """The warnings about an object, and those of them that are about the present."""
        about = self._warnings.about(thing)
        return about, [event for event in about if self._warnings.is_recent(event, since)]

    def _newest_sets(self, deployment: Json) -> list[Json]:
        owned = self._owned[deployment["metadata"]["uid"]].values()
        return [rs for rs in owned if _annotation(rs, REVISION) == _annotation(deployment, REVISION)]


def _subject(event: Json) -> str:
    """The uid of the object that an event is about."""
    return str((event.get("involvedObject") or {}).get("uid", ""))


def _unseen(workload: Json) -> bool:
    """Whether the controller has not acted on the newest state yet, as far as its kind says so."""
    observed = (workload.get("status") or {}).get("observedGeneration", 0)
    return bool(workload["kind"] in OBSERVED and workload["metadata"].get("generation", 0) > observed)


def _is_held(pod: Json, spec: Json) -> bool:
    """Whether a StatefulSet's update strategy leaves a pod alone."""
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return True
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    number = int(pod["metadata"]["name"].rpartition("-")[2])
    return bool(number - (spec.get("ordinals") or {}).get("start", 0) < partition)


def _owners(thing: Json) -> list[str]:
    return [
        owner["uid"] for owner in thing["metadata"].get("ownerReferences") or [] if owner.get("controller")
    ]


def _older(one: Json, other: Json) -> bool:
    """Whether `one` is an earlier state than `other`: versions of one object are comparable since 1.35,
    and have always been ascending numbers in practice.
    """
    first, second = one["metadata"].get("resourceVersion", ""), other["metadata"].get("resourceVersion", "")
    return first.isdigit() and second.isdigit() and int(first) < int(second)


def _annotation(thing: Json, name: str) -> str:
    return str(annotations(thing).get(name, ""))


def _label(thing: Json, name: str) -> str:
    return str((thing["metadata"].get("labels") or {}).get(name, ""))
