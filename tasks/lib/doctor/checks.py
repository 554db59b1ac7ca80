"""Checks, and what they found: an expected error is a finding and stops nothing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from tasks.lib import console
from tasks.lib.background import side_by_side
from tasks.lib.console import Cell, Styled
from tasks.lib.errors import Failure
from tasks.lib.files import refusal

# At most this many checks at once: enough for all of one environment, and few requests for the APIs.
WORKERS = 8

THIS_MACHINE = "this machine"

State = Literal["ok", "note", "problem", "skipped"]
COLOURS: dict[State, str] = {"ok": "green", "note": "yellow", "problem": "red", "skipped": "dim"}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    A `problem` has to be fixed; a `note` is something missing that only some tasks need.
    """

    area: str
    subject: str
    state: State
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        area: what it belongs to: this machine, or an environment.
        subject: its name there.
        look: returns what it found, or raises a Failure.
        needed: whether every user needs it; otherwise its absence is a note.
        after: subjects, of the same area or of this machine, whose problems would make this check fail too.

    """

    area: str
    subject: str
    look: Callable[[], str]
    needed: bool = True
    after: tuple[str, ...] = ()


def run(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks, several at once, and return their findings in the same order.

    A check is skipped after a problem that would make it fail too, so that one cause is one problem.
    """
    found: dict[int, Finding] = {}
    for depends in (False, True):
        numbers = [n for n, check in enumerate(checks) if bool(check.after) is depends]
        problems = {(f.area, f.subject) for f in found.values() if f.state == "problem"}
        findings = side_by_side(partial(_run_one, problems=problems), [checks[n] for n in numbers], WORKERS)
        found |= zip(numbers, findings, strict=True)
    return [found[number] for number in range(len(checks))]


def _run_one(check: Check, problems: set[tuple[str, str]]) -> Finding:
    for subject in check.after:
        if problems & {(check.area, subject), (THIS_MACHINE, subject)}:
            return Finding(check.area, check.subject, "skipped", f"needs: {subject}")
    try:
        return Finding(check.area, check.subject, "ok", check.look())
    except Failure as failure:
        return _finding(check, failure)
    except OSError as error:
        if refused := refusal(error):
            return _finding(check, refused)
        raise


def _finding(check: Check, failure: Failure) -> Finding:
    detail = "\n".join(part for part in (failure.what, failure.why) if part)
    state: State = "problem" if check.needed else "note"
    return Finding(check.area, check.subject, state, detail, failure.next_step)


def report(findings: Sequence[Finding], *, json: bool) -> None:
    """Print the findings: a table for people, or JSON on stdout.

    Raises Failure where at least one is a problem.
    """
    if json:
        console.emit(as_json(findings))
    else:
        console.table(("where", "check", "result", "found"), as_rows(findings))
    problems = sum(finding.state == "problem" for finding in findings)
    if problems:
        raise Failure(
            f"{problems} of {len(findings)} checks found a problem.", "", "Each row above says how to fix it."
        )
    notes = sum(finding.state == "note" for finding in findings)
    remark = f"; {notes} found something missing that only some tasks need" if notes else ""
    console.say(f"No problem in {len(findings)} checks{remark}.")


def as_json(findings: Sequence[Finding]) -> str:
    """A JSON array of `{"area", "subject", "state", "detail", "fix"}`."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)


def as_rows(findings: Sequence[Finding]) -> list[list[Cell]]:
    """Table rows: area, subject, state, and what was found with its fix."""
    return [
        [
            finding.area,
            finding.subject,
            Styled(finding.state, COLOURS[finding.state]),
            [
                *finding.detail.splitlines(),
                *(Styled(f"→ {line}", "bold") for line in finding.fix.splitlines()),
            ],
        ]
        for finding in findings
    ]
