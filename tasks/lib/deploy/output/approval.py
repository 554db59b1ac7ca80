"""Bringing a plan to people: on a terminal, as a page, and asking whether to go on."""

import sys
from collections.abc import Callable
from pathlib import Path

from tasks.lib import console, signals
from tasks.lib.deploy.plan import document
from tasks.lib.deploy.plan.document import Plan
from tasks.lib.errors import ChangesFound, Failure, UsageError
from tasks.lib.files import write_atomically


def deliver(plan: Plan, *, as_json: bool, page: str) -> None:
    """Print a plan as JSON to stdout or as lines to stderr; write its page if one is asked for."""
    if page:
        write_atomically(Path(page), document.as_html(plan).encode())
    if as_json:
        console.emit(document.as_json(plan))
    else:
        show(plan)


def show(plan: Plan) -> None:
    """Print a plan as coloured lines."""
    for colour, line in document.as_lines(plan):
        console.draw(line, colour)


def require_no_changes(plan: Plan) -> None:
    """End with the exit code for changes if there are any.

    Raises:
        ChangesFound: the plan would write something.

    """
    if plan.due:
        raise ChangesFound(f"{len(plan.due)} objects would be written.")


def approval(asked: bool, plan_file: str) -> Callable[[Plan], None]:
    """How a deploy gets its plan approved: by a file, by a person, or as it is.

    Raises:
        UsageError: there is nobody to ask, or the file holds no plan.

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
    """What shows a plan and asks, for an option that wants that.

    Raises:
        UsageError: there is no terminal to ask on.

    """
    if not sys.stdin.isatty():
        raise UsageError(f"Cannot prompt for {option}: stdin is not a terminal.", "", instead)
    return ask


def ask(plan: Plan) -> None:
    """Show the plan and ask.

    Raises:
        Failure: the answer is not yes.

    """
    show(plan)
    if not plan.due:
        return
    console.say(f"Type {plan.environment} to deploy this, anything else to stop:")
    with signals.raised():
        answer = sys.stdin.readline()
    if answer.strip() != plan.environment:
        raise Failure("The plan was not approved: nothing was changed.")
