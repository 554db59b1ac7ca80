"""What one check found, and how a check is run: an expected error is a finding, not an end."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from tasks.lib.background import side_by_side
from tasks.lib.console import Cell, Styled
from tasks.lib.errors import Failure
from tasks.lib.files import refusal

# At most this many checks at once: enough for all of one environment, gentle on the APIs.
WORKERS = 8

THIS_MACHINE = "this machine"

State = Literal["ok", "note", "problem", "skipped"]
COLOURS: dict[State, str] = {"ok": "green", "note": "yellow", "problem": "red", "skipped": "dim"}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    A `note` is something missing that not every task needs; a `fault` must be mended.
    """

    area: str
    subject: str
    state: State
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Args:
        area: what it belongs to: this machine, or an environment.
        subject: what it is called there.
        look: returns what it saw, or raises a Failure.
        needed: whether every user needs it; otherwise its absence is a note.
        after: subjects, of the same area or of this machine, without which looking says nothing new.

    """

    area: str
    subject: str
    look: Callable[[], str]
    needed: bool = True
    after: tuple[str, ...] = ()


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks, several at once, and return their findings in the same order.

    A check whose prerequisite is at fault is skipped, so that one cause is one fault.
    """
    found: dict[int, Finding] = {}
    for wave in (False, True):
        numbers = [n for n, check in enumerate(checks) if bool(check.after) is wave]
        faults = {(f.area, f.subject) for f in found.values() if f.state == "problem"}
        looked = side_by_side(partial(_examine, faults=faults), [checks[n] for n in numbers], WORKERS)
        found |= zip(numbers, looked, strict=True)
    return [found[number] for number in range(len(checks))]


def _examine(check: Check, faults: set[tuple[str, str]]) -> Finding:
    for subject in check.after:
        if faults & {(check.area, subject), (THIS_MACHINE, subject)}:
            return Finding(check.area, check.subject, "skipped", f"needs: {subject}")
    try:
        return Finding(check.area, check.subject, "ok", check.look())
    except Failure as failure:
        return _told(check, failure)
    except OSError as error:
        if refused := refusal(error):
            return _told(check, refused)
        raise


def _told(check: Check, failure: Failure) -> Finding:
    detail = "\n".join(part for part in (failure.what, failure.why) if part)
    state: State = "problem" if check.needed else "note"
    return Finding(check.area, check.subject, state, detail, failure.next_step)


def as_json(findings: Sequence[Finding]) -> str:
    """A JSON array of `{"area", "subject", "state", "detail", "mend"}`."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)


def as_rows(findings: Sequence[Finding]) -> list[list[Cell]]:
    """Table rows: area, subject, state, and what was seen with the way to mend it."""
    return [
        [
            finding.area,
            finding.subject,
            Styled(finding.state, COLOURS[finding.state]),
            [
                *finding.detail.splitlines(),
                *(Styled(f"→ {line}", "bold") for line in finding.mend.splitlines()),
            ],
        ]
        for finding in findings
    ]
