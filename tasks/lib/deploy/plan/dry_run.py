"""The cluster's own check before anything changes: every write as a server-side dry run.

It finds what no schema knows: immutable fields, admission rules, quota, and fields that others manage.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kinds
from tasks.lib.cluster.rbac import NEVER_REMOVED, RECREATED
from tasks.lib.deploy.objects import Ref, contains, scopes_to_come
from tasks.lib.deploy.plan import takeover
from tasks.lib.deploy.plan.decide import corrected
from tasks.lib.deploy.plan.field_managers import Conflict, bare, found_in, not_ours, options, without
from tasks.lib.deploy.rollout.awaited import paused_or_suspended
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure

DRY: Final = {"dryRun": "All"}
SUFFIX: Final = "-dry-run"
LONGEST_LABEL: Final = 63
IMMUTABLE: Final = re.compile(
    r"immutable|may not change|cannot change|updates to statefulset spec|forbidden", re.I
)


@dataclass(frozen=True)
class Tried:
    """How the dry run of one step went: the object as it would be, or the refusal."""

    step: Step  # the step, its action perhaps corrected by what the dry run showed
    # The object as the server would store it; None where it cannot be tried beforehand.
    result: Json | None = None
    problem: str = ""  # why the cluster would refuse, and the fix; empty if it would not
    conflicts: tuple[Conflict, ...] = ()
    # The conflicts that were found to be ours to resolve, by taking the fields over.
    forced: tuple[Conflict, ...] = ()
    # Those whose fields are left to the other managers: the step does not apply them.
    conceded: tuple[Conflict, ...] = ()


@dataclass
class DryRuns:
    """Dry runs against one cluster."""

    api: Api
    kinds: Kinds
    predecessors: Collection[str]  # field managers whose values are taken over silently
    forced: Sequence[str]  # `Kind/name:field` whose values are taken over on request
    namespace: str  # the environment's, which a first deploy creates
    concedes: bool = False  # leave fields that others own to them, instead of reporting conflicts
    created: Collection[str] = ()  # namespaces that need not exist yet

    def run(self, steps: Sequence[Step]) -> list[Tried]:
        """Try every step that writes, several at a time; the others are returned as they are."""
        namespaces = (step.ref.name for step in steps if step.ref.kind == "Namespace")
        self.created = {"", self.namespace, *namespaces}
        redefined = _redefined(steps)
        due = [step for step in steps if step.writes and step.ref.key not in redefined]
        results = side_by_side(self._try, due, CONNECTIONS)
        tried = dict(zip((step.ref for step in due), results, strict=True))
        return [_unless_stalled(tried.get(step.ref) or Tried(step)) for step in steps]

    def _try(self, step: Step) -> Tried:
        kind = self.kinds.get(step.ref.key)
        if not step.writes or kind is None:
            return Tried(step)
        if step.action is Action.RECREATE:
            return self._try_recreation(step)
        body, name = step.body, step.ref.name
        if step.action is Action.RUN:  # the previous run has the name, so another is tried
            name = beside(name)
            body = {**body, "metadata": {**body["metadata"], "name": name}}
        path = kind.path(step.ref.namespace, name)
        try:
            return self._tried(step, self._dry(step, path, body), path)
        except ApiError as error:
            return self._refused(step, error, path)

    def _dry(self, step: Step, path: str, body: Json, **more: str) -> Json:
        return self.api.apply(path, body, doing=f"apply {step.ref}", query={**DRY, **more})

    def _try_recreation(self, step: Step) -> Tried:
        """Try what replaces an object that is being deleted; what others own of that goes with it."""
        if step.ref.kind in NEVER_REMOVED:  # it holds data, and may never be gone
            why = "it is being deleted. Wait until it is gone, then deploy again; what it held is lost."
            return Tried(step, problem=f"{step.ref}: {why}")
        path = self.kinds[step.ref.key].path(step.ref.namespace, step.ref.name)
        try:
            result = self._dry(step, path, step.body, force="true")
        except ApiError as error:
            changed = error.status == 422 and IMMUTABLE.search(error.message)
            return Tried(step) if changed else self._refused(step, error, path)
        return self._tried(step, result, path)

    def _try_beside(self, step: Step) -> Tried:
        """Try what replaces an object of which an immutable field changed, under a free name."""
        name = beside(step.ref.name)
        body = {**step.body, "metadata": {**step.body["metadata"], "name": name}}
        path = self.kinds[step.ref.key].path(step.ref.namespace, name)
        try:
            result = self._dry(step, path, body)
        except ApiError as error:
            return Tried(step, problem=f"{step.ref}: {error.in_short}")
        return Tried(step, {**result, "metadata": {**result["metadata"], "name": step.ref.name}})

    def _tried(self, step: Step, result: Json, path: str, forced: tuple[Conflict, ...] = ()) -> Tried:
        """The outcome of an accepted dry run, less what taking the object over removes."""
        if step.action is Action.CHANGE and step.live:
            step = replace(step, live=takeover.with_first_entries(step.live, result))
            result = takeover.preview(self.api, path, step, self.predecessors, result)
        return Tried(corrected(step, result), result, forced=forced)

    def _refused(self, step: Step, error: ApiError, path: str) -> Tried:
        if error.status == 404 and step.ref.namespace in self.created:
            return Tried(step)
        conflicts = found_in(step.ref, error)
        if conflicts:
            if open_ones := not_ours(conflicts, self.predecessors, set(map(bare, self.forced))):
                return self._opposed(step, open_ones)
            try:
                result = self._dry(step, path, step.body, force="true")
                return self._tried(step, result, path, conflicts)
            except ApiError as second:
                error = second
        if error.status == 422 and step.live and IMMUTABLE.search(error.message):
            if step.ref.kind in RECREATED:
                recreated = step.with_action(Action.RECREATE, "an immutable field changed")
                return self._try_beside(recreated)
            return Tried(step, problem=f"{step.ref}: {error.in_short}\n{fix(step.ref)}")
        return Tried(step, problem=f"{step.ref}: {error.in_short}")

    def _opposed(self, step: Step, conflicts: tuple[Conflict, ...]) -> Tried:
        """The outcome where others own what is not ours to take: refused, or tried without these fields."""
        concedes = self.concedes or all(conflict.field in step.yields for conflict in conflicts)
        body = without(step.body, conflicts) if concedes else None
        if body is None:
            return Tried(step, conflicts=conflicts)
        tried = self._try(replace(step, body=body))
        return replace(tried, conceded=(*conflicts, *tried.conceded))


def require(tried: Sequence[Tried], others: Sequence[str] = ()) -> None:
    """Raise Failure where the cluster would refuse something; each refusal and conflict is told with its fix.

    `others` are other problems, each with its fix.
    """
    problems = [*(t.problem for t in tried if t.problem), *others]
    conflicts = [c for t in tried for c in t.conflicts]
    if not problems and not conflicts:
        return
    lines = [*problems, *map(str, conflicts)]
    step = "Fix what is listed above, then deploy again."
    if conflicts:
        taken = options(conflicts)
        step = f"Take these fields over with {taken}, or put their current values into the manifests."
    raise Failure(
        f"The cluster would refuse {len(lines)} of the changes: nothing was changed.", "\n".join(lines), step
    )


def _unless_stalled(tried: Tried) -> Tried:
    """The same, but refused where it would never become ready."""
    step = tried.step
    untried = step.live if step.action is Action.AWAIT else step.body if step.writes else None
    known = tried.result or untried
    if tried.problem or not known or not (problem := paused_or_suspended(step, known)):
        return tried
    return replace(tried, problem=problem)


def _redefined(steps: Sequence[Step]) -> Collection[tuple[str, str]]:
    """The kinds whose definition these steps change: until then the server knows only the one before."""
    return scopes_to_come(
        step.body
        for step in steps
        if step.ref.kind == "CustomResourceDefinition"
        and step.live
        and not contains(step.live["spec"], step.body["spec"])
    )


def beside(name: str) -> str:
    """Another name for a Job, refused for its length where the first is: its pods have it as a label."""
    is_short = len(name) + len(SUFFIX) <= LONGEST_LABEL
    return (name if is_short else name[: -len(SUFFIX)].replace(".", "-")) + SUFFIX


def fix(ref: Ref) -> str:
    """How to change an immutable field."""
    command = ref.command("delete")
    if ref.kind in NEVER_REMOVED:
        return (
            "fix: restore the current value in the manifests, or give it another name. "
            f"`{command}` deletes all data in it."
        )
    if ref.kind == "StatefulSet":
        return f"fix: `{command} --cascade=orphan` keeps its pods and claims running; then deploy again."
    if ref.kind in {"Deployment", "DaemonSet"}:
        return f"fix: `{command}`, which ends its pods, then deploy again; or give it another name."
    return f"fix: `{command}`, then deploy again."
