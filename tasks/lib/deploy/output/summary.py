"""The one summary at the end of a deploy, whatever its end was."""

from collections.abc import Sequence

from tasks.lib.console import spoken
from tasks.lib.deploy.events import GOOD, SETTLED, Record, Result, Row
from tasks.lib.deploy.plan.decide import WRITES


def lines(record: Record, seconds: float, width: int = 0) -> list[str]:
    """The summary as aligned lines: what was done to each object, then what was not reached.

    Where the columns do not fit, there is one line an object without them.

    Args:
        record: the course of the deploy.
        seconds: how long all of it took.
        width: what fits on a line; 0 for any length.

    """
    if not record.rows:
        return ["Nothing was changed in the cluster."]
    shown = [row for row in record.rows.values() if row.result not in SETTLED]
    settled = len(record.rows) - len(shown)
    table = _aligned([("phase", "object", "plan", "result", "time"), *map(_cells, shown)]) if shown else []
    if width and any(len(line) > width for line in table):
        table = [_in_words(row) for row in shown]
    rest = [f"{settled} of {len(record.rows)} objects are unchanged."] if settled else []
    times = ", ".join(f"{title} {spoken(took)}" for title, took in record.phases.items() if took >= 0.05)
    times_line = [f"time: {times}"] if times else []
    return [*table, *rest, *times_line, closing(record, seconds), *record.aftermath]


def closing(record: Record, seconds: float) -> str:
    """The last line: how it ended, in one sentence."""
    rows = list(record.rows.values())
    if all(row.result in GOOD for row in rows):
        done = sum(row.action in WRITES for row in rows)
        if not done:
            return f"{record.environment} is unchanged and ready ({len(rows)} objects, {spoken(seconds)})."
        return f"{record.environment} is deployed: {done} of {len(rows)} objects changed, {spoken(seconds)}."
    applied = [row for row in rows if row.action in WRITES and row.result is not Result.NOT_REACHED]
    untouched = [row for row in rows if row.action in WRITES and row.result is Result.NOT_REACHED]
    return (
        f"{record.environment} is not fully deployed after {spoken(seconds)}: "
        f"{len(applied)} changes were sent, {len(untouched)} were not. Deploying again continues."
    )


def _in_words(row: Row) -> str:
    took = f" ({spoken(row.seconds)})" if row.seconds is not None else ""
    return f"{row.ref}: {row.words}{took}"


def _cells(row: Row) -> tuple[str, ...]:
    took = spoken(row.seconds) if row.seconds is not None else ""
    return (row.phase, str(row.ref), str(row.action), row.words, took)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [min(max(len(row[column]) for row in rows), 60) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
