"""Bringing a plan to people: as lines, as JSON, as a page, and asking whether to go on."""

import html
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tasks.lib import console, signals
from tasks.lib.deploy.output import page as pages
from tasks.lib.deploy.plan import document
from tasks.lib.deploy.plan.diff import alike
from tasks.lib.deploy.steps import Action, Plan
from tasks.lib.errors import ChangesFound, Failure, UsageError
from tasks.lib.files import write_atomically

SIGNS: Final = {
    Action.CREATE: "+",
    Action.CHANGE: "~",
    Action.RECREATE: "±",
    Action.RUN: ">",
    Action.AWAIT: ">",
    Action.DELETE: "-",
    Action.LEAVE: "·",
}
COLOURS: Final = {"+": "green", "~": "yellow", "±": "red", ">": "cyan", "-": "red", "·": ""}


def deliver(plan: Plan, *, as_json: bool, page: str) -> None:
    """Print a plan as JSON to stdout or as lines to stderr; write its page if one is asked for."""
    if page:
        write_atomically(Path(page), as_html(plan).encode())
    if as_json:
        console.emit(document.as_json(plan))
    else:
        show(plan)


def show(plan: Plan) -> None:
    """Print a plan as coloured lines."""
    for colour, line in as_lines(plan):
        console.draw(line, colour)


def require_no_changes(plan: Plan) -> None:
    """Raise ChangesFound where the plan would write something."""
    if plan.due:
        raise ChangesFound(f"{len(plan.due)} objects would be written.")


def approval(asked: bool, plan_file: str) -> Callable[[Plan], None]:
    """How a deploy gets its plan approved: by a file, by a person, or as it is.

    Raises UsageError where there is nobody to ask, or the file holds no plan.
    """
    if plan_file:
        approved = document.read(Path(plan_file))
        return lambda plan: document.require_same(approved, plan)
    if not asked:
        return lambda plan: None
    return on_a_terminal(
        "--approve", "Approve beforehand: ./inv plan … --json > FILE, then ./inv deploy … --plan-file FILE"
    )


def on_a_terminal(option: str, instead: str = "Run it on a terminal.") -> Callable[[Plan], None]:
    """What shows a plan and asks, for this option; raises UsageError where nobody can answer."""
    if not sys.stdin.isatty():
        raise UsageError(f"Cannot prompt for {option}: stdin is not a terminal.", "", instead)
    return ask


def ask(plan: Plan) -> None:
    """Show the plan and ask; raises Failure where the answer is not yes."""
    show(plan)
    if not plan.due:
        return
    console.say(f"Type {plan.environment} to deploy this, anything else to stop:")
    with signals.raised():
        answer = sys.stdin.readline()
    if answer.strip() != plan.environment:
        raise Failure("The plan was not approved: nothing was changed.")


def as_lines(plan: Plan) -> list[tuple[str, str]]:
    """The plan as (colour, line); colours are those of `COLOURS`, or empty."""
    lines: list[tuple[str, str]] = []
    phase = ""
    for entry in plan.told:
        if entry.phase != phase:
            phase = entry.phase
            lines.append(("", phase))
        sign = SIGNS[Action(entry.action)]
        why = f" ({entry.reason})" if entry.reason else ""
        lines.append((COLOURS[sign], f"  {sign} {entry.kind} {entry.name}{why}"))
        for group in alike(entry.changes):
            told, more = group[0].lines, len(group) - 1
            told = [*told, f"    and {more} more fields in the same way"] if more else told
            lines += [(COLOURS[str(group[0])[0]], f"      {line}") for line in told]
    if plan.notes:
        lines += [("", "notes"), *(("yellow", f"  ! {note}") for note in plan.notes)]
    lines.append(("", totals(plan)))
    return lines


def totals(plan: Plan) -> str:
    """One line that counts."""
    count = Counter(entry.action for entry in plan.entries)
    words = {
        "create": "to create",
        "change": "to change",
        "recreate": "to recreate",
        "run": "to run",
        "await": "to wait for",
        "delete": "to delete",
        "leave": "left",
    }
    parts = [f"{count[action]} {text}" for action, text in words.items() if count[action]]
    rest = len(plan.entries) - len(plan.told)
    return f"{plan.environment}: {', '.join([*parts, f'{rest} unchanged'])}."


def as_html(plan: Plan) -> str:
    """One self-contained page."""
    return pages.document(f"Plan for {plan.environment}", as_section(plan))


def as_section(plan: Plan) -> str:
    """What such a page says, for pages that say more."""
    parts: list[str] = []
    changes_of_a_phase: list[tuple[str, str]] = []
    for colour, line in [*as_lines(plan), ("", "")]:
        if line.startswith(" "):
            changes_of_a_phase.append((colour, line.removeprefix("  ")))
            continue
        if changes_of_a_phase:
            parts.append(pages.lines(changes_of_a_phase))
            changes_of_a_phase = []
        parts += [f"<h3>{html.escape(line)}</h3>"] if line else []
    return "".join(parts)
