"""A deploy's record as a table: the one that fits a screen while it runs, and the summary at its end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.lib.console import spoken
from tasks.lib.deploy.events import BAD, GOOD, SETTLED, Record, Result, Row
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.steps import WRITES
from tasks.lib.printable import one_line

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


# Lines around the rows: title, head, count of the rest, and one to spare for the cursor.
AROUND: Final = 4
WIDE: Final = 100
SHORT: Final = {
    "ConfigMap": "cm", "CustomResourceDefinition": "crd", "DaemonSet": "ds", "Deployment": "deploy",
    "Ingress": "ing", "Namespace": "ns", "PersistentVolumeClaim": "pvc", "Service": "svc",
    "ServiceAccount": "sa", "StatefulSet": "sts", "StorageClass": "sc",
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a state is shown, and how much it matters where not all rows fit: 0 the most."""

    sign: str
    colour: str
    matters: int


FAILED: Final = Look("✗", "red", 0)
WORKING: Final = Look("…", "yellow", 1)
DONE: Final = Look("✓", "green", 2)
PENDING: Final = Look("·", "dim", 3)
WORDS: Final = {FAILED: "failed", WORKING: "in progress", DONE: "done", PENDING: "pending"}


def look(row: Row) -> Look:
    """How a row looks."""
    if row.result is Result.NOT_REACHED:
        return PENDING
    if row.result in GOOD:
        return DONE
    return FAILED if row.result in BAD else WORKING


def choose(rows: Sequence[Row], room: int) -> tuple[list[Row], str]:
    """The rows that fit, in the order of the plan, and what to say of the others.

    Failed rows come first, then those in progress, then what was done last, then what is pending.
    """
    open_ones = [row for row in rows if row.result not in SETTLED]
    by_weight = sorted(open_ones, key=lambda row: (look(row).matters, -(row.began or 0)))
    chosen = {row.ref for row in by_weight[: max(room, 1)]}
    hidden = [row for row in open_ones if row.ref not in chosen]
    count = Counter(look(row) for row in hidden)
    parts = [f"{count[one]} {word}" for one, word in WORDS.items() if count[one]]
    settled = len(rows) - len(open_ones)
    said = [f"{len(hidden)} more: {', '.join(parts)}"] if hidden else []
    said += [f"{settled} unchanged"] if settled else []
    return [row for row in open_ones if row.ref in chosen], "; ".join(said)


def name(ref: Ref, width: int) -> str:
    """An object's name; where there is little room, its kind is short as kubectl's."""
    return str(ref) if width >= WIDE else f"{SHORT.get(ref.kind, ref.kind.lower())}/{ref.name}"


def age(row: Row, now: float) -> str:
    """How long a row has been, or was, worked on."""
    if row.began is None:
        return ""
    return spoken(row.seconds if row.seconds is not None and look(row) is not WORKING else now - row.began)


def draw(
    record: Record, phase: str, reasons: Mapping[Ref, str], width: int, height: int, now: float
) -> "Table":
    """The table, for a screen of `width` columns and `height` lines; `reasons` are what was last told."""
    from rich.table import Table
    from rich.text import Text

    rows = list(record.rows.values())
    chosen, rest = choose(rows, height - AROUND)
    table = Table(
        box=None, expand=True, pad_edge=False, header_style="bold", title_style="bold",
        title_justify="left", caption_justify="left", title=_one_line(title(record, phase, rows, now)),
        caption=_one_line(rest) if rest else None,
    )  # fmt: skip
    names = [name(row.ref, width) for row in chosen]
    widest = max(map(len, names), default=0)
    wide = width >= WIDE
    table.add_column("", width=1)
    if wide:
        table.add_column("phase", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("object", no_wrap=True, overflow="ellipsis", width=min(widest, width * 2 // 5))
    table.add_column("ready", no_wrap=True, justify="right", min_width=5)
    table.add_column("age", no_wrap=True, justify="right", min_width=5)
    table.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=1)
    for row, shown in zip(chosen, names, strict=True):
        seen = look(row)
        cells = [shown, row.count, age(row, now), reason(row, reasons.get(row.ref, ""))]
        cells = [row.phase, *cells] if wide else cells
        table.add_row(Text(seen.sign, style=seen.colour), *(Text(one_line(cell)) for cell in cells))
    return table


def title(record: Record, phase: str, rows: Sequence[Row], now: float) -> str:
    """Where the deploy stands, in one line."""
    phases = list(dict.fromkeys(row.phase for row in rows))
    number = f" ({phases.index(phase) + 1} of {len(phases)})" if phase in phases else ""
    return f"{record.environment}: {phase}{number}, {spoken(now - record.began)}"


def reason(row: Row, told: str) -> str:
    """Why a row stands as it does: the result, and while it is in progress what was told last."""
    if look(row) is not WORKING:
        return row.words
    return row.detail or told or row.words


def _one_line(words: str) -> "Text":
    from rich.text import Text

    return Text(one_line(words), no_wrap=True, overflow="ellipsis")


def summary(record: Record, seconds: float, width: int = 0) -> list[str]:
    """The summary as aligned lines: what was done to each object, then what was not reached.

    Where the columns do not fit the width, if there is one, there is one line an object without them.
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
