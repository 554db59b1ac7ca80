"""Output for people, on stderr; stdout is for data.

Plain lines need no library; rich is loaded only for a table or a colour.  Most text here comes from
elsewhere, so control sequences are removed, a line stays one line, and nothing is read as markup.
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

# The width of a table in a pipe: rich's default of 80 breaks names of Kubernetes objects.
WIDTH_OF_LOGS = 120
# On a narrower terminal the cells of a table would wrap after a few characters.
NARROW = 60


class Styled(NamedTuple):
    """A text with one of rich's styles, such as `green`."""

    text: str
    style: str


Piece = str | Styled
# A list has one piece per line.
Cell = Piece | list[Piece]


def open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed, as after `2>&-`.

    Otherwise the stream is None in Python, and the next file that is opened gets its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: the stream's
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def console() -> "Console":
    """A rich console on stderr: colours on a terminal, plain text in a pipe or with `NO_COLOR`."""
    from rich.console import Console

    width = None if sys.stderr.isatty() else WIDTH_OF_LOGS
    return Console(stderr=True, highlight=False, soft_wrap=True, width=width)


def say(message: str = "") -> None:
    """Print one line for people."""
    print(one_line(message), file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints for people


def draw(message: str, style: str) -> None:
    """Print one line for people in one of rich's styles."""
    console().print(text_of(Styled(message, style)))


def emit(text: str) -> None:
    """Write data to stdout with a newline at its end; control sequences are removed on a terminal."""
    shown = printable(text) if sys.stdout.isatty() else text
    sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
    sys.stdout.flush()


def heading(title: str) -> None:
    """Print the heading of a phase, bold on a terminal and easy to find in a log."""
    draw(f"==> {title}", "bold")


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], title: str = "") -> None:
    """Print rows under `columns`.

    On a narrow terminal, a table that does not fit is printed row by row instead.
    """
    from rich.measure import Measurement
    from rich.table import Table

    named = text_of(Styled(title, "table.title")) if title else None
    drawn = Table(title=named, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")  # a shortened name is useless
    for row in rows:
        drawn.add_row(*map(text_of, row))
    out = console()
    unbound = out.options.update_width(1_000_000)
    if out.width < NARROW and Measurement.get(out, unbound, drawn).maximum > out.width:
        for line in [*([Styled(title, "bold")] if title else []), *_as_lines(columns, rows)]:
            out.print(text_of(line))
    else:
        out.print(drawn)


def text_of(cell: Cell) -> "Text":
    """A cell for rich, each piece on one line."""
    from rich.text import Text

    pieces = cell if isinstance(cell, list) else [cell]
    parts = [Styled(piece, "") if isinstance(piece, str) else piece for piece in pieces]
    return Text("\n").join(Text(one_line(part.text), style=part.style) for part in parts)


def _as_lines(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[Cell]:
    """Rows as lines: the first cell, and the others below it; empty cells are left out."""
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
    """A duration in its two largest units: `0.4 s`, `12 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
