"""What a deploy removes when all is ready: what earlier releases deployed and the new one does not.

Such objects carry our label, or are in the inventory of a kept release.  They stay where they may still be
needed: configuration that something living, or a release that a rollback may apply, reads; kinds
that hold data; what someone else has a part in.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tasks.lib.background import side_by_side
from tasks.lib.cluster import rbac
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.gke import Connection
from tasks.lib.cluster.rbac import NEVER_REMOVED
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import APPLIED, Ref, Wanted, annotations, configuration_names, is_going
from tasks.lib.deploy.plan.decide import observe
from tasks.lib.deploy.plan.field_managers import is_ours, other_managers, owner_of
from tasks.lib.deploy.plan.plan import Destination, Planned
from tasks.lib.deploy.rollout.readiness import job_outcome
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure
from tasks.lib.render.pods import at, pod_specs

# How many releases are looked through, and how many good ones keep the configuration that they read.
INVENTORIES: Final = 5
CONFIGURATION: Final = frozenset({"ConfigMap", "Secret"})
REASON: Final = "no longer deployed"
# Whatever may start pods in a namespace, and the revisions from which controllers make pods again.
READERS: Final = (
    ("", "v1", "pods"),
    ("apps", "v1", "deployments"),
    ("apps", "v1", "statefulsets"),
    ("apps", "v1", "replicasets"),
    ("apps", "v1", "controllerrevisions"),
    ("batch", "v1", "jobs"),
    ("batch", "v1", "cronjobs"),
)


@dataclass(frozen=True)
class Situation:
    """All that the decision rests on."""

    owner: str  # the value of our label
    deployed: Collection[Ref]
    candidates: Mapping[Ref, Json]  # live objects that earlier releases deployed
    readers: Sequence[Json]  # live objects that may read configuration
    past: Sequence[Release]  # releases that are kept, the newest first
    controllers: Collection[str]  # field managers that only complete what others deploy


def decide(now: Situation) -> tuple[Step, ...]:
    """The objects to remove, sorted."""
    steps = [step for step in _abandoned(now) if not _reason_to_stay(step, now)]
    going = {step.live["metadata"]["uid"] for step in steps if step.live}
    read = names_read(_living(now.readers, going)) | names_read(kept_bodies(now.past))
    return tuple(step for step in steps if (step.ref.kind, step.ref.name) not in read)


def left(now: Situation) -> tuple[Step, ...]:
    """What is kept although it is no longer deployed, sorted, each with its reason.

    Configuration that is still read is not listed: that is expected.
    """
    steps = ((step, _reason_to_stay(step, now)) for step in _abandoned(now))
    return tuple(
        replace(step, action=Action.LEAVE, reason=f"kept: {reason}") for step, reason in steps if reason
    )


def names_read(bodies: Iterable[Json]) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that objects read, as (kind, name)."""
    found: set[tuple[str, str]] = set()
    for body in bodies:
        for spec in pod_specs(body):
            pulled = {("Secret", one["name"]) for one in spec.get("imagePullSecrets") or [] if "name" in one}
            found |= configuration_names(spec) | pulled
        version, kind = body.get("apiVersion", ""), body.get("kind")
        is_ingress = kind == "Ingress" and version.startswith("networking.k8s.io/")
        rules = at(body, "spec.tls") or [] if is_ingress else []
        found |= {("Secret", rule["secretName"]) for rule in rules if "secretName" in rule}
        if (version, kind) == ("v1", "ServiceAccount"):  # whose pods get them
            handed_on = [*(body.get("imagePullSecrets") or []), *(body.get("secrets") or [])]
            found |= {("Secret", one["name"]) for one in handed_on if "name" in one}
    return found


def kept_bodies(past: Sequence[Release]) -> list[Json]:
    """The objects of the newest good releases, those that a rollback is likely to bring back."""
    good = [one for one in past if one.went_well]
    return [body for one in good[:INVENTORIES] for body in _bodies(one)]


def inventory(past: Sequence[Release], known: Collection[str], namespace: str) -> list[Ref]:
    """What the newest releases deployed and our label does not lead to.

    `known` are kinds of which every object that carries our label has been found.
    """
    found: set[Ref] = set()
    for one in [one for one in past if one.number][:INVENTORIES]:  # release 0 is what others deployed
        for body in _bodies(one):
            if owner_of(body) and body["kind"] in known:
                continue
            metadata = body["metadata"]
            found.add(Ref(body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"]))
            if not owner_of(body):  # Secrets are not kept, but named by what reads them
                names = names_read([body])
                found |= {Ref("v1", kind, namespace, name) for kind, name in names if kind == "Secret"}
    return sorted(ref for ref in found if ref.kind not in NEVER_REMOVED)


def _bodies(one: Release) -> list[Json]:
    """The objects of a release; none of one that was edited: it cannot be restored anyway."""
    try:
        return one.objects()
    except Failure:
        return []


def completed(
    to: Destination, planned: Planned, past: Sequence[Release], spared: Collection[str] = ()
) -> Planned:
    """The same plan, with what is removed at its end; nothing in the cluster changes.

    `past` are the releases that are kept, the newest first.  `spared` are kinds that the plan leaves out and
    that stay all the same.  Raises Failure where the cluster does not permit to remove something.
    """
    namespace = to.namespace
    past = [one for one in past if one.packed]  # the others cannot come back anyway
    deployed = {step.ref for step in planned.steps}
    known = {*spared, *(ref.kind for ref in deployed)}
    due = inventory(past, known, namespace)
    listed = [ref for ref in due if ref not in deployed and ref.kind not in spared]
    gone = [Wanted(ref, {}) for ref in listed if ref.key in to.connection.kinds]
    candidates = {**planned.others, **(_look(to.connection, gone, known, namespace) if gone else {})}
    configuration = any(ref.kind in CONFIGURATION for ref in candidates)
    readers = _readers(to.api, namespace) if configuration else []
    readers += [step.wanted.body for step in planned.steps]
    now = Situation(namespace, deployed, candidates, readers, past, to.settings.deploy.controllers)
    return replace(planned, removals=decide(now), left=left(now))


def _abandoned(now: Situation) -> list[Step]:
    """The candidates that are this environment's, no longer deployed and not being deleted, sorted."""
    names = {(ref.kind, ref.namespace, ref.name) for ref in now.deployed}  # in whatever version of the API
    return [
        Step(Wanted(ref, {}), Action.DELETE, REASON, {}, live)
        for ref, live in sorted(now.candidates.items())
        if (ref.kind, ref.namespace, ref.name) not in names
        and not is_going(live)
        and owner_of(live) in {"", now.owner}
    ]


def _reason_to_stay(step: Step, now: Situation) -> str:
    """Why something abandoned is not removed, or nothing."""
    live = step.live or {}
    if step.ref.kind in NEVER_REMOVED:
        return "objects of this kind are never removed"
    if step.ref.is_job and not job_outcome(live):
        return "it is still running"
    return reason_to_leave(step, live, now.controllers)


def reason_to_leave(step: Step, live: Json, controllers: Collection[str]) -> str:
    """Why an object is not to be removed, or nothing.

    `step` has it as it was planned, or as this deploy made it, `live` as it is now.
    """
    if step.live and step.live["metadata"]["uid"] != live["metadata"]["uid"]:
        return "it was recreated by somebody else"
    if not step.live and annotations(live).get(APPLIED) != step.wanted.digest:
        return "it was changed outside this tool since"
    if not is_ours(live):
        return "it was not created by this tool"
    if others := other_managers(live, controllers):
        return f"{', '.join(others)} also manages it"
    return ""


def _living(readers: Sequence[Json], going: set[str]) -> list[Json]:
    """Those that are not removed, nor made by something that is."""
    gone = set(going)
    while True:
        more = {
            reader["metadata"]["uid"]
            for reader in readers
            for owner in reader["metadata"].get("ownerReferences") or []
            if owner["uid"] in gone
        }
        if more <= gone:
            return [reader for reader in readers if reader["metadata"].get("uid") not in gone]
        gone |= more


def _look(
    connection: Connection, gone: Sequence[Wanted], known: Collection[str], namespace: str
) -> dict[Ref, Json]:
    """Read objects from inventories; kinds that this deploy does not apply need permissions of their own."""
    kinds = connection.kinds
    places = {(kinds[w.ref.key], w.ref.namespace) for w in gone if w.ref.kind not in known}
    rbac.require(connection.api, rbac.to_remove(places))
    return observe(connection.api, kinds, gone, namespace)


def _readers(api: Api, namespace: str) -> list[Json]:
    def read(place: tuple[str, str, str]) -> list[Json]:
        group, version, plural = place
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        return api.list(f"{root}/namespaces/{namespace}/{plural}", doing=f"list {plural}")[0]

    return [thing for part in side_by_side(read, READERS, CONNECTIONS) for thing in part]
