"""What a recovery restores: a pure function of what the failed deploy touched and of the last good release.

What neither the deploy nor an unfinished one before it touched is left alone.  So are Jobs, because
migrations are never reversed, and kinds that hold data.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.events import Record, Result
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import APPLIED, Ref, Wanted, configuration_names
from tasks.lib.deploy.rollout.readiness import job_outcome
from tasks.lib.deploy.steps import Step
from tasks.lib.errors import Failure
from tasks.lib.render.pods import pod_specs

CONFIGURATION: Final = frozenset({"ConfigMap", "Secret"})
LEFT: Final = {
    "Job": "migrations are never reversed",
    "PersistentVolumeClaim": "it holds data",
    "Namespace": "everything else lies in it",
    "CustomResourceDefinition": "objects of its kind hang on it",
}


@dataclass(frozen=True)
class Restoration:
    """What to do about each object that a failed deploy touched."""

    objects: tuple[Wanted, ...]  # applied again as they were
    created: tuple[Step, ...]  # made by the failed deploy and unknown to the last good release: removed
    left: tuple[tuple[Ref, str], ...]  # left as they are, and why


def touched(steps: Sequence[Step], record: Record) -> list[Step]:
    """The steps that may have changed something, those whose answer was lost or a refusal included."""
    return [step for step in steps if step.writes and record.rows[step.ref].result is not Result.NOT_REACHED]


def unfinished(steps: Sequence[Step], touched: Collection[Step], good: Sequence[Wanted]) -> list[Step]:
    """The steps whose objects an earlier failed deploy left otherwise than the last good release has them."""
    before = {w.ref.place: w.digest for w in good}
    seen = {step.ref for step in touched}
    found = []
    for step in steps:
        applied = ((step.live or {"metadata": {}})["metadata"].get("annotations") or {}).get(APPLIED)
        place = step.ref.place
        is_lasting = step.ref.kind in LEFT or (step.ref.kind in CONFIGURATION and place not in before)
        if applied and applied != before.get(place) and step.ref not in seen and not is_lasting:
            found.append(step)
    return found


def restoration(steps: Sequence[Step], good: Sequence[Wanted], earlier: Sequence[Step] = ()) -> Restoration:
    """Decide about every object that was touched."""
    before, of_an_earlier = {w.ref.place: w for w in good}, {step.ref for step in earlier}
    objects: list[Wanted] = []
    created: list[Step] = []
    left: list[tuple[Ref, str]] = []
    for step in [*steps, *earlier]:
        if reason := LEFT.get(step.ref.kind):
            left.append((step.ref, reason))
        elif step.ref.place in before:
            objects.append(before[step.ref.place])
        elif step.live is None or step.ref in of_an_earlier:
            created.append(step)
        elif step.ref.kind == "Secret":  # without a hash in its name; nobody else knows what it was
            objects.append(as_it_was(step.ref, step.live))
        else:
            left.append((step.ref, "the last good release lacks it, and it was there before this deploy"))
    return Restoration(tuple(objects), tuple(created), tuple(left))


def sparing(due: Restoration, jobs: Sequence[Json]) -> Restoration:
    """The same, without the removal of configuration that running Jobs still read."""
    specs = [job["spec"]["template"]["spec"] for job in jobs if not job_outcome(job)]
    read = {name for spec in specs for name in configuration_names(spec)}
    spared = [step for step in due.created if (step.ref.kind, step.ref.name) in read]
    return replace(
        due,
        created=tuple(step for step in due.created if step not in spared),
        left=(*due.left, *((step.ref, "a Job that still runs reads it") for step in spared)),
    )


def as_it_was(ref: Ref, live: Json) -> Wanted:
    """A live object as something to apply: without what the server and this project note on it."""
    metadata = live["metadata"]
    notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != APPLIED}
    kept = {
        "name": ref.name,
        "namespace": ref.namespace,
        "labels": metadata.get("labels"),
        "annotations": notes,
    }
    rest = {key: value for key, value in live.items() if key not in {"metadata", "status"}}
    return Wanted(ref, {**rest, "metadata": {key: value for key, value in kept.items() if value}})


def require_secrets(present: set[str], objects: Sequence[Json], release: Release) -> None:
    """Raise Failure where Secrets that old objects read are gone; all are named."""
    read_by = {
        name
        for body in objects
        for spec in pod_specs(body)
        for kind, name in configuration_names(spec)
        if kind == "Secret"
    }
    if gone := sorted(read_by - present):
        raise Failure(
            "Cannot roll back to that release: Secrets that it reads are gone.",
            "\n".join(gone),
            release.instead,
        )
