"""The whole examination: this machine and every environment, and what it comes to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.lib import console
from tasks.lib.doctor import environment as one
from tasks.lib.doctor import machine
from tasks.lib.doctor.finding import Finding, as_json, as_rows, examine
from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings


def examine_all(settings: "Settings", environments: "Sequence[Environment]") -> list[Finding]:
    """Look at this machine and at `environments`."""
    checks = machine.checks(settings)
    for environment in environments:
        checks += one.checks(settings, environment)
    return examine(checks)


def report(findings: Sequence[Finding], *, json: bool) -> None:
    """Print the findings: a table for people, or JSON on stdout.

    Raises:
        Failure: at least one is a fault.

    """
    if json:
        console.emit(as_json(findings))
    else:
        console.table(("where", "what", "", "seen"), as_rows(findings))
    problems = sum(finding.state == "problem" for finding in findings)
    if problems:
        raise Failure(
            f"{problems} of {len(findings)} checks found a problem.", "", "Each row above says how to fix it."
        )
    notes = sum(finding.state == "note" for finding in findings)
    remark = f"; what {notes} of them miss, only some tasks need" if notes else ""
    console.say(f"No problem in {len(findings)} checks{remark}.")
