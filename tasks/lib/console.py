"""What people see, all of it on stderr: stdout belongs to data.

Plain lines need no library; rich is loaded only where a table or a colour is drawn.  Whatever is printed
here loses its control sequences, stays on its line, and is never read as markup: others wrote most of it.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, NamedTuple

from tasks.lib.printable import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Columns of a table that goes to a pipe: rich's own 80 breaks names of Kubernetes objects.
WIDTH_OF_LOGS = 120
# Below so many columns, cells of a table with five of them fold after every few characters.
NARROW = 60


class Styled(NamedTuple):
    """A text with a style of rich's, such as `green`."""

    text: str
    style: str


Piece = str | Styled
# A list is one piece a line.
Cell = Piece | list[Piece]


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
    print(one_line(message), file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints for people


def draw(message: str, style: str) -> None:
    """Print one line for people in a style of rich's."""
    console().print(text_of(Styled(message, style)))


def emit(text: str) -> None:
    """Write data to stdout, ended by one newline; a terminal gets nothing that it would obey."""
    shown = printable(text) if sys.stdout.isatty() else text
    sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
    sys.stdout.flush()


def heading(title: str) -> None:
    """Announce a phase: a line that stands out on a terminal and can be searched for in a log."""
    draw(f"==> {title}", "bold")


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], title: str = "") -> None:
    """Print rows under `columns`.

    On a terminal of a phone's width, a table that does not fit is told row by row instead.
    """
    from rich.measure import Measurement
    from rich.table import Table

    named = text_of(Styled(title, "table.title")) if title else None
    drawn = Table(title=named, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")  # a shortened name or address is of no use
    for row in rows:
        drawn.add_row(*map(text_of, row))
    out = console()
    unbound = out.options.update_width(1_000_000)
    if out.width < NARROW and Measurement.get(out, unbound, drawn).maximum > out.width:
        for line in [*([Styled(title, "bold")] if title else []), *_told(columns, rows)]:
            out.print(text_of(line))
    else:
        out.print(drawn)


def text_of(cell: Cell) -> "Text":
    """A cell as rich draws it, each piece on one line."""
    from rich.text import Text

    pieces = cell if isinstance(cell, list) else [cell]
    parts = [Styled(piece, "") if isinstance(piece, str) else piece for piece in pieces]
    return Text("\n").join(Text(one_line(part.text), style=part.style) for part in parts)


def _told(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[Cell]:
    """Rows as lines: the first cell leads, the others follow below it; empty ones are left out."""
    for first, *others in rows:
        yield Styled(f"{columns[0]} {text_of(first).plain}", "bold")
        for column, cell in zip(columns[1:], others, strict=True):
            lines = cell if isinstance(cell, list) else [cell]
            label = f"  {column}: " if column else "  "
            for start, piece in zip(chain([label], repeat("    ")), lines, strict=False):
                style = "" if isinstance(piece, str) else piece.style
                words = piece if isinstance(piece, str) else piece.text
                yield from [Styled(f"{start}{words}", style)] if words else []


def spoken(seconds: float) -> str:
    """Render a duration in the two largest units: `0.4 s`, `12 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
