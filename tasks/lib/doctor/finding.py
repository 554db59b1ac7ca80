"""What one check found, and how a check is run: an expected error is a finding, not an end."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Literal

from tasks.lib.errors import Failure

# At most this many checks at once: enough for all of one environment, gentle on the APIs.
WORKERS = 8

State = Literal["ok", "note", "fault"]
MARKS: dict[State, str] = {
    "ok": "[green]ok[/green]",
    "note": "[yellow]note[/yellow]",
    "fault": "[red]fault[/red]",
}


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
    """One thing to look at: `look` returns what it saw, or raises a Failure."""

    area: str
    subject: str
    look: Callable[[], str]
    # Where the thing is needed by some tasks only, its absence is a note.
    needed: bool = True


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks, several at once, and return their findings in the same order."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(_examine, checks))


def _examine(check: Check) -> Finding:
    try:
        return Finding(check.area, check.subject, "ok", check.look())
    except Failure as failure:
        detail = "\n".join(part for part in (failure.what, failure.why) if part)
        state: State = "fault" if check.needed else "note"
        return Finding(check.area, check.subject, state, detail, failure.next_step)


def as_json(findings: Sequence[Finding]) -> str:
    """A JSON array of `{"area", "subject", "state", "detail", "mend"}`."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)


def as_rows(findings: Sequence[Finding]) -> list[list[str]]:
    """Table rows: area, subject, state, and what was seen with the way to mend it."""
    from rich.markup import escape

    return [
        [
            escape(finding.area),
            escape(finding.subject),
            MARKS[finding.state],
            escape(finding.detail) + (f"\n[bold]→ {escape(finding.mend)}[/bold]" if finding.mend else ""),
        ]
        for finding in findings
    ]
