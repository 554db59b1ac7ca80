"""What people see, all of it on stderr: stdout belongs to data.

Plain lines need no library; rich is loaded only where a table or a colour is drawn.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Columns of a table that goes to a pipe: rich's own 80 breaks names of Kubernetes objects.
WIDTH_OF_LOGS = 120
# Below so many columns, cells of a table with five of them fold after every few characters.
NARROW = 60


def open_closed_streams() -> None:
    """Put the null device in the place of each standard stream that was closed, as `2>&-` does.

    Python has None there, takes stdout for a closed stderr, and gives its number to the next file opened.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: the stream's own
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def console() -> "Console":
    """A rich console on stderr: colours on a terminal, plain text in a pipe, `NO_COLOR` honoured."""
    from rich.console import Console

    width = None if sys.stderr.isatty() else WIDTH_OF_LOGS
    return Console(stderr=True, highlight=False, soft_wrap=True, width=width)


def say(message: str = "") -> None:
    """Print one line for people."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints for people


def emit(text: str) -> None:
    """Write data to stdout, ended by one newline."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def heading(title: str) -> None:
    """Announce a phase: a line that stands out on a terminal and can be searched for in a log."""
    console().print(f"==> {title}", style="bold", markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print rows under `columns`; cells may carry rich markup such as `[green]ok[/green]`.

    On a terminal of a phone's width, a table that does not fit is told row by row instead.
    """
    from rich.measure import Measurement
    from rich.table import Table

    drawn = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")  # a shortened name or address is of no use
    for row in rows:
        drawn.add_row(*row)
    out = console()
    unbound = out.options.update_width(1_000_000)
    if out.width < NARROW and Measurement.get(out, unbound, drawn).maximum > out.width:
        for line in ([f"[bold]{title}[/bold]"] if title else []) + _told(columns, rows):
            out.print(line)
    else:
        out.print(drawn)


def _told(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first cell leads, the others follow below it; empty ones are left out."""
    lines = []
    for first, *others in rows:
        lines.append(f"[bold]{columns[0]}[/bold] {first}")
        for column, cell in zip(columns[1:], others, strict=True):
            label = f"{column}: " if column else ""
            lines += [f"  {label}{cell}".replace("\n", "\n    ")] if cell else []
    return lines
