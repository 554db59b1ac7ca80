"""What the cluster has of each object, and what to do with it: first observed, then decided."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kind, Kinds, listed
from tasks.lib.deploy.objects import (
    APPLIED,
    RAN,
    Ref,
    Wanted,
    annotated,
    annotations,
    contains,
    is_going,
    job_fingerprint,
    ref_of,
)
from tasks.lib.deploy.plan.field_managers import LABEL, owner_of
from tasks.lib.deploy.rollout.readiness import is_failing, job_outcome, still_runs
from tasks.lib.deploy.steps import Action, Step

# Up to this many, those that carry our label and one GET each for others cost less than a list of strangers.
FEW: Final = 2
# The seconds before each further look at an object that changes between a look and the act.
PAUSES: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
CHANGED: Final = "its image or configuration changed"


def decide(objects: Sequence[Wanted], live: Mapping[Ref, Json], *, run_jobs: bool) -> list[Step]:
    """Decide about every object, in the same order; `run_jobs` also runs Jobs that read nothing new."""
    return [
        _about_job(w, live.get(w.ref), objects, run_jobs=run_jobs)
        if w.ref.is_job
        else _about_object(w, live.get(w.ref))
        for w in objects
    ]


def corrected(step: Step, result: Json) -> Step:
    """The step after its dry run: a change that changes nothing becomes `unchanged`."""
    if step.action is Action.CHANGE and step.live and _essence(step.live) == _essence(result):
        return step.with_action(Action.KEEP, "")
    return step


def _essence(thing: Json) -> Json:
    dropped = {"managedFields", "resourceVersion", "generation"}
    return {**thing, "metadata": {k: v for k, v in thing["metadata"].items() if k not in dropped}}


def _about_object(w: Wanted, there: Json | None) -> Step:
    body = annotated(w.body, {APPLIED: w.digest})
    if there is None:
        return Step(w, Action.CREATE, "", body)
    if is_going(there):
        return Step(w, Action.RECREATE, "it is being deleted", body, there)
    applied = annotations(there).get(APPLIED)
    if applied is None:
        return Step(w, Action.CHANGE, "not yet managed by this tool", body, there)
    if applied != w.digest:
        return Step(w, Action.CHANGE, "", body, there)
    if not contains(there, body):
        return Step(w, Action.CHANGE, "changed outside this tool", body, there)
    return Step(w, Action.KEEP, "", body, there)


def _about_job(w: Wanted, there: Json | None, objects: Sequence[Wanted], *, run_jobs: bool) -> Step:
    digest = job_fingerprint(w.body, objects)
    body = annotated(w.body, {APPLIED: w.digest, RAN: digest})
    action, reason = _job_action(there, digest, run_jobs=run_jobs)
    return Step(w, action, reason, body, there)


def _job_action(there: Json | None, digest: str, *, run_jobs: bool) -> tuple[Action, str]:
    if there is None:
        return Action.RUN, "does not exist yet"
    outcome = job_outcome(there)
    is_other = annotations(there).get(RAN) != digest
    reasons = {
        f"{CHANGED}; the previous run is still running: waiting for it": is_other and still_runs(there),
        CHANGED: is_other,
        "the previous run is being deleted": is_going(there),
        "the previous run failed": outcome == "Failed",
        "the previous run failed; waiting for its pods to end": is_failing(there),
        "requested with --jobs": run_jobs and outcome == "Complete",
    }
    if reason := next((text for text, holds in reasons.items() if holds), ""):
        return Action.RUN, reason
    if outcome == "":
        return Action.AWAIT, "it is still running"
    return Action.SKIP, "ran already with this image and configuration"


def observe(api: Api, kinds: Kinds, objects: Iterable[Wanted], owner: str = "") -> dict[Ref, Json]:
    """Read every wanted object that exists, and those of the same kinds whose label says `owner`, if given.

    One LIST per kind and namespace, all at the same time.
    """
    by_place: dict[tuple[Kind, str], set[Ref]] = {}
    for w in objects:
        if kind := kinds.get(w.ref.key):
            by_place.setdefault((kind, w.ref.namespace), set()).add(w.ref)
    found = side_by_side(
        lambda place: _read(api, place[0], place[1], by_place[place], owner), by_place, CONNECTIONS
    )
    return {ref: thing for part in found for ref, thing in part.items()}


def _read(api: Api, kind: Kind, namespace: str, refs: set[Ref], owner: str) -> dict[Ref, Json]:
    few = len(refs) <= FEW
    if few and not owner:
        return _get_each(api, kind, refs)
    query = {"labelSelector": f"{LABEL}={owner}"} if few else None
    found = {
        ref: thing
        for thing in listed(api, kind, namespace, query)
        if (ref := ref_of(thing)) in refs or (owner and owner_of(thing) == owner)
    }
    return found | _get_each(api, kind, refs - found.keys()) if few else found


def _get_each(api: Api, kind: Kind, refs: Iterable[Ref]) -> dict[Ref, Json]:
    return {ref: thing for ref in refs if (thing := get(api, kind, ref))}


def get(api: Api, kind: Kind, ref: Ref) -> Json | None:
    """One object, or None."""
    try:
        return api.get(kind.path(ref.namespace, ref.name), doing=f"read {ref}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise
