"""The add-ons of a cluster as a table or JSON: what is there, what invoke.yaml wants, and what is wrong."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from tasks.lib import console, signals
from tasks.lib.cluster import gke
from tasks.lib.console import Cell, Styled
from tasks.lib.deploy.output import plans
from tasks.lib.deploy.steps import Plan
from tasks.lib.errors import Failure, UsageError
from tasks.lib.operate.addons import installed
from tasks.lib.settings.model import Environment, Settings

COLUMNS = ("environment", "add-on", "installed", "wanted", "Kubernetes", "state")


@dataclass(frozen=True)
class State:
    """One add-on in one environment's cluster."""

    environment: str
    name: str
    installed: str  # its version; empty where it is not there
    wanted: str
    kubernetes: str  # the versions that the wanted one supports
    problems: Sequence[str]
    notes: Sequence[str]


def states(settings: Settings, environment: Environment, only: Sequence[str]) -> list[State]:
    """The state of each add-on in an environment's cluster.

    Raises:
        Failure: the cluster cannot be reached, or refuses to list them.

    """
    with gke.reached(settings, environment) as connection:
        gke.check_mark(connection.api, environment)
        found = []
        for name in settings.chosen_addons(only):
            addon = settings.addons[name]
            there = installed.look(connection, addon)
            notes = installed.notes(name, there, addon, connection.found.version)
            supported = f"{addon.kubernetes.oldest} to {addon.kubernetes.newest}"
            found.append(
                State(environment.name, name, there.version, addon.version, supported, there.problems, notes)
            )
    return found


def deliver(found: Sequence[State], *, as_json: bool) -> None:
    """Print the states as JSON on stdout, or as a table."""
    if as_json:
        console.emit(json.dumps([asdict(one) for one in found]))
        return
    console.table(COLUMNS, [_cells(one) for one in found])
    for note in dict.fromkeys(note for one in found for note in one.notes):
        console.draw(f"! {note}", "yellow")
    if next_step := _next(found):
        console.say(next_step)


def deliver_plans(made: Sequence[Plan], *, as_json: bool) -> None:
    """Print plans as a JSON array on stdout, or as lines."""
    if as_json:
        console.emit(json.dumps([asdict(one) for one in made], indent=2))
        return
    for one in made:
        plans.show(one)


def _cells(one: State) -> tuple[Cell, ...]:
    return one.environment, one.name, one.installed or "none", one.wanted, one.kubernetes, _state(one)


def _state(one: State) -> Cell:
    if one.problems:
        return [Styled(problem, "red") for problem in one.problems]
    if not one.installed:
        return Styled("not installed", "yellow")
    if installed.numbers(one.installed) < installed.numbers(one.wanted):
        return Styled(f"healthy; {one.wanted} is an upgrade", "yellow")
    return Styled("healthy", "green")


def _next(found: Sequence[State]) -> str:
    due = dict.fromkeys(one.environment for one in found if one.installed != one.wanted)
    return "\n".join(f"next: ./inv cluster.addons --environment {name} --plan" for name in due)


def approval(environment: Environment, confirmed: str) -> Callable[[Plan], None]:
    """What shows a plan and asks for the environment's name, unless --confirm has it already.

    Raises:
        UsageError: --confirm has another name, or there is nobody to ask.

    """
    if confirmed and confirmed != environment.name:
        raise UsageError(f"--confirm {confirmed} is not the environment {environment.name}.")
    if not confirmed and not sys.stdin.isatty():
        raise UsageError(
            "Cannot prompt: stdin is not a terminal.", "", f"Add --confirm {environment.name} to apply it."
        )

    def approve(plan: Plan) -> None:
        plans.show(plan)
        if confirmed or not plan.due:
            return
        console.say(f"Type {environment.name} to apply this, anything else to stop:")
        with signals.raised():
            answer = sys.stdin.readline()
        if answer.strip() != environment.name:
            raise Failure("The plan was not approved: nothing was changed.")

    return approve
