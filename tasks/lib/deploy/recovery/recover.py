"""After a failed deploy: keep a support bundle, then bring the last good release back where it was touched.

How the deploy itself failed stays the news: whatever goes wrong here is told beside it.
"""

import datetime
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.kinds import discover
from tasks.lib.deploy import apply, history
from tasks.lib.deploy import deploy as steps
from tasks.lib.deploy.events import Began, Notice, PhaseBegan, Record, ReleaseResult, Result, Tell, Told
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import APPLIED, Ref, Wanted, configuration_names, wanted
from tasks.lib.deploy.plan import plan as plans
from tasks.lib.deploy.plan.field_managers import OPTION, Conflict
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.recovery import support_bundle
from tasks.lib.deploy.releases import seal
from tasks.lib.deploy.rollout.readiness import job_outcome
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Step
from tasks.lib.errors import Failure
from tasks.lib.render.pods import pod_specs

NO_GOOD: Final = "No earlier release went well: there is nothing to roll back to, and changes were kept."
DISABLED: Final = "Rollback is disabled (--no-rollback, or deploy.roll_back); changes were kept."
CONFIGURATION: Final = frozenset({"ConfigMap", "Secret"})
LEFT: Final = {
    "Job": "migrations are never reversed",
    "PersistentVolumeClaim": "it holds data",
    "Namespace": "everything else lies in it",
    "CustomResourceDefinition": "objects of its kind hang on it",
}


def after(session: Session, planned: Planned, end: BaseException, *, roll_back: bool, evidence: str) -> None:
    """Clear up after a deploy, whose session still holds the lock; its record says afterwards how it ended.

    `evidence` is the folder that support bundles are put into; empty for what settings say.  Where the last
    good release is back, `end` is raised with another next step.
    """
    record = session.record
    if record.outcome is ReleaseResult.DEPLOYED:  # all is ready: only something to be removed was not
        record.aftermath.append(apply.LATER)
    elif not isinstance(end, Failure):
        record.outcome = ReleaseResult.INTERRUPTED
        record.aftermath.append("The deploy was interrupted: changes were kept, nothing is rolled back.")
    elif (changed := touched(planned.steps, record)) and not session.lock.lost.is_set():
        with suppress(Failure):  # pods log what the plan has no part in; without Secrets there are no logs
            session.secrets()
        session.tell(Notice(f"failed: {end.what}"))
        bundle = _keep_bundle(session, end, changed, evidence)
        if not (roll_back and session.settings.deploy.roll_back):
            record.aftermath.append(DISABLED)
        elif _roll_back(session, planned, changed):
            raise end.retold(next_step=_advice(end, bundle)) from end


def _advice(failure: Failure, bundle: Path | None) -> str:
    """The next step; its objects are gone from the cluster, but fields can still be taken over."""
    advice = failure.next_step if OPTION in failure.next_step else "Fix the cause and deploy again."
    return f"{advice} Support bundle: {bundle}" if bundle else advice


def _keep_bundle(session: Session, failure: Failure, touched: list[Step], folder: str) -> Path | None:
    """Write what can be seen of the failure into a folder; returns it, or None where that is not possible."""
    settings, record = session.settings, session.record
    now, commit = datetime.datetime.now(datetime.UTC), session.facts.get("commit", "")
    name = support_bundle.folder_name(session.environment.name, commit, now)
    target = settings.root / (folder or settings.deploy.evidence) / name
    session.tell(PhaseBegan("support bundle"))
    kinds = session.connection.kinds
    found = support_bundle.collect(session.api, kinds, session.namespace, touched, record.heard)
    facts = {
        **session.facts,
        "what": failure.what,
        "why": failure.why,
        "next": failure.next_step,
        "objects": [
            {"phase": row.phase, "object": str(row.ref), "action": row.action, "result": row.words}
            for row in record.rows.values()
        ],
    }
    try:
        support_bundle.write(target, found, facts, session.redactor)
    except OSError as error:
        why = error.strerror or error
        session.tell(Notice(f"The support bundle could not be written to {target}: {why}"))
        return None
    session.tell(Notice(f"kept in {target}"))
    record.aftermath.append(f"Support bundle: {target}")
    return target


def _roll_back(session: Session, planned: Planned, touched: list[Step]) -> bool:
    """Bring the last good release back; returns whether that went well, and the record says how it went."""
    record = session.record
    good = history.last_good(session.past)
    if good is None:
        record.aftermath.append(NO_GOOD)
        return False
    recovery = Recovery(session, good, planned.steps, touched)
    try:
        if good is not session.zero:
            seal.require(session.seal, good, session.environment.name)
        steps.deploy(recovery, session.tell)
    except KeyboardInterrupt:
        record.outcome = ReleaseResult.RECOVERY_INTERRUPTED
        raise
    except Failure as second:
        record.outcome = ReleaseResult.RECOVERY_FAILED
        why = session.redactor.line(f"{second.what} {second.why}")
        record.aftermath.append(f"The rollback to release {good.number} failed as well: {why}")
        record.aftermath.append(f"Next: {_way_out(session, good)}")
        return False
    record.outcome, record.rolled_back_to = ReleaseResult.RECOVERED, good.number
    record.aftermath.append(
        f"Rolled the changed objects back to release {good.number}"
        f"{_but_for(recovery.conceded)}{_also(recovery.earlier)}. "
        "The database was not changed: migrations are not reversed."
    )
    return True


def _way_out(session: Session, good: Release) -> str:
    unsealed = " --accept-unsealed" if session.seal.doubt(good) else ""
    command = f"./inv release.rollback --environment {session.environment.name} --to {good.number}{unsealed}"
    return f"{command}, or fix the cause and deploy again."


class Recovery(steps.Operation):
    """The return of what a failed deploy touched to the last good release, within that deploy's session."""

    def __init__(self, failed: Session, good: Release, steps: Sequence[Step], touched: list[Step]) -> None:
        self._failed, self._good, self._steps, self._touched = failed, good, steps, touched
        self._created: tuple[Step, ...] = ()
        self.earlier: list[Step] = []
        self.conceded: list[Conflict] = []

    @contextmanager
    def announced(self, tell: Tell) -> Iterator[Record]:
        """Tell that it begins; its end is part of the deploy's."""
        record = Record(self._failed.environment.name, blank=self._failed.redactor.line)
        tell(PhaseBegan(f"rollback to {self._good.title}"))
        tell(Began(record))
        yield record

    @contextmanager
    def preflight(self, record: Record, tell: Tell) -> Iterator[Session]:
        """Decide about each object that was touched; what comes back has to find its Secrets."""
        api, namespace = self._failed.api, self._failed.namespace
        # The deploy may have brought kinds.
        connection = replace(self._failed.connection, kinds=discover(api))
        before = self._failed.form_of(wanted(self._good.objects(), connection.kinds, namespace))
        self.earlier = unfinished(self._steps, self._touched, before)
        jobs, _ = api.list(f"/apis/batch/v1/namespaces/{namespace}/jobs", doing="list jobs")
        due = restoration(self._touched, before, self.earlier, jobs)
        for ref, reason in due.left:
            tell(Told(ref, f"left: {reason}"))
        present = {secret["metadata"]["name"] for secret in self._failed.secrets()}
        require_secrets(present, [w.body for w in due.objects], self._good)
        self._created = due.created
        yield self._failed.resumed(connection, record, due.objects)

    def locked(self, session: Session) -> nullcontext[None]:
        """The failed deploy holds the lock."""
        return nullcontext()

    def plan(self, session: Session) -> Planned:
        """Plan what comes back, then the removal of what the deploy created; others keep their fields."""
        planned = plans.make(session, session.objects, plans.Choices(concede=True))
        self.conceded = [conflict for found in planned.conceded.values() for conflict in found]
        for conflict in self.conceded:
            session.tell(Told(conflict.ref, f"left: {conflict.field} is managed by {conflict.manager}"))
        return replace(planned, removals=self._created)

    def limit(self, session: Session) -> float:
        """A rollback has a limit of its own: the deploy may have used its time up."""
        return session.settings.time_limits.rollback


def _but_for(conceded: list[Conflict]) -> str:
    if not conceded:
        return ""
    fields = sorted({f"{conflict.field} of {conflict.ref}" for conflict in conceded})
    return f", except fields that others have set since ({', '.join(fields)})"


def _also(earlier: list[Step]) -> str:
    if not earlier:
        return ""
    return f", with {len(earlier)} objects that earlier deploys had left changed"


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


def restoration(
    steps: Sequence[Step], good: Sequence[Wanted], earlier: Sequence[Step] = (), jobs: Sequence[Json] = ()
) -> Restoration:
    """Decide about every object that was touched; configuration that running Jobs read is not removed."""
    specs = [job["spec"]["template"]["spec"] for job in jobs if not job_outcome(job)]
    read = {name for spec in specs for name in configuration_names(spec)}
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
            if (step.ref.kind, step.ref.name) in read:
                left.append((step.ref, "a Job that still runs reads it"))
            else:
                created.append(step)
        elif step.ref.kind == "Secret":  # without a hash in its name; nobody else knows what it was
            objects.append(as_it_was(step.ref, step.live))
        else:
            left.append((step.ref, "the last good release lacks it, and it was there before this deploy"))
    return Restoration(tuple(objects), tuple(created), tuple(left))


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
