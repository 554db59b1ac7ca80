"""A plan as it is shown and kept in a file, and the seals by which it can be approved."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import fingerprint
from tasks.lib.deploy.plan.diff import changes, content, masked, notes
from tasks.lib.deploy.plan.plan import REMOVAL, Planned
from tasks.lib.deploy.steps import Action, Change, Entry, Plan, Step
from tasks.lib.errors import Failure, UsageError
from tasks.lib.redaction import Redactor

# Of the JSON, and of what seals cover: a plan of another format cannot be approved.
FORMAT: Final = 1
Key = tuple[str, str, str]


def of(environment: str, planned: Planned) -> Plan:
    """What people see of a plan."""
    entries = []
    for phase, steps in (*planned.phases, (REMOVAL, (*planned.removals, *planned.left))):
        for step in steps:
            differing = _differing(step, planned.results.get(step.ref, step.body))
            there = content(step.live) if step.live and step.action is not Action.LEAVE else None
            seal = fingerprint([step.action, step.wanted.digest, there])
            entries.append(
                Entry(phase, step.ref.kind, step.ref.name, step.ref.namespace, str(step.action), step.reason,
                      tuple(differing), seal)
            )  # fmt: skip
    return Plan(environment, tuple(entries), planned.notes)


def _differing(step: Step, after: Json) -> list[Change]:
    """The fields that would differ; where an object is written for our notes on it alone, these."""
    if step.live is None or step.action not in {Action.CHANGE, Action.RECREATE}:
        return []
    return changes(step.live, after) or notes(step.live, after)


def with_namespace(plan: Plan, name: str) -> Plan:
    """The plan of a deploy that first creates its namespace, unless that is among its objects anyway."""
    if any((entry.kind, entry.name) == ("Namespace", name) for entry in plan.entries):
        return plan
    seal = fingerprint(["Namespace", name])
    entry = Entry("namespace", "Namespace", name, "", Action.CREATE, "does not exist yet", (), seal)
    return replace(plan, entries=(entry, *plan.entries))


def as_json(plan: Plan) -> str:
    """The whole plan as JSON; `read` takes it back."""
    return json.dumps({"format": FORMAT, **asdict(plan)}, indent=2)


def blanked(plan: Plan, redactor: Redactor) -> Plan:
    """The plan without secret values, wherever they stand: a ConfigMap may repeat one."""
    entries = (
        replace(entry, reason=redactor.line(entry.reason), changes=masked(entry.changes, redactor))
        for entry in plan.entries
    )
    notes = tuple(map(redactor.line, plan.notes))
    return replace(plan, entries=tuple(entries), notes=notes)


def read(path: Path) -> Plan:
    """Read a plan that `as_json` wrote; raises UsageError for anything else."""
    try:
        content = _of_this_format(json.loads(path.read_text()))
        entries = [
            Entry(**{**entry, "changes": tuple(Change(**change) for change in entry["changes"])})
            for entry in content["entries"]
        ]
        return Plan(content["environment"], tuple(entries), tuple(content.get("notes", ())))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a plan.", str(error), "Write one with ./inv plan --branch … --json > FILE"
        ) from error


def _of_this_format(content: Any) -> Any:
    if content.get("format") != FORMAT:
        raise ValueError("Another version of this project wrote it, or it is something else.")
    return content


def require_same(approved: Plan, now: Plan) -> None:
    """Raise Failure where what was approved is not what would be done, or people read something else of it.

    Every object concerned is named.
    """
    moved = [f"{kind} {name}: {why}" for (kind, name, _), why in sorted(_moved(approved, now).items())]
    if approved.environment != now.environment:
        moved.insert(0, f"the plan is for {approved.environment}, this deploy for {now.environment}")
    if moved:
        raise Failure(
            "The approved plan is stale: nothing was changed.",
            "\n".join(moved),
            "Make a new plan: ./inv plan --branch …",
        )


def _moved(approved: Plan, now: Plan) -> dict[Key, str]:
    """The objects that the two plans differ in, in what would be applied or in what people read, and how."""
    then, today = _by_key(approved.entries), _by_key(now.entries)
    gone = dict.fromkeys(then.keys() - today.keys(), "is no longer deployed")
    new = dict.fromkeys(today.keys() - then.keys(), "was not in the plan")
    both = {key: (then[key], today[key]) for key in then.keys() & today.keys()}
    other = {key: "has changed since" for key, (one, two) in both.items() if one.seal != two.seal}
    told = {
        key: "the plan file describes it differently than a new plan would"
        for key, (one, two) in both.items()
        if replace(one, seal="") != replace(two, seal="")
    }
    return {**gone, **new, **told, **other}


def _by_key(entries: Sequence[Entry]) -> dict[Key, Entry]:
    return {(entry.kind, entry.name, entry.namespace): entry for entry in entries}
