"""A deploy on a terminal: a table that updates in place, with headings, logs and notices above it."""

import time
from typing import TYPE_CHECKING, Final

from tasks.lib.deploy.events import Began, Ended, Event, LogLine, Notice, PhaseBegan, Record, Told
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.output import summary
from tasks.lib.deploy.output.lines import logged
from tasks.lib.deploy.output.table import draw
from tasks.lib.printable import one_line
from tasks.lib.signals import uninterrupted

if TYPE_CHECKING:
    from rich.table import Table

DRAWN_A_SECOND: Final = 4


class Terminal:
    """Receives events and shows them.

    The table comes with the first phase of the plan, so that a question before it stands by itself, and goes
    with the view: the summary, which says the same, is what stays.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._record, self._phase = Record(""), ""
        self._reasons: dict[Ref, str] = {}
        self._console = Console(stderr=True, highlight=False, emoji=False)
        self._live = Live(
            console=self._console, get_renderable=self._table, transient=True,
            refresh_per_second=DRAWN_A_SECOND, redirect_stdout=False,
        )  # fmt: skip

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Began(record):
                self._record = record
            case PhaseBegan(title):
                self._begin(title)
            case Told(ref, text):
                self._reasons[ref] = text
            case LogLine():
                self._print(logged(event))
            case Ended(record, seconds):
                self._sum_up(record, seconds)
            case Notice(text):
                self._print(f"  {text}")

    def _begin(self, phase: str) -> None:
        self._phase = phase
        self._print(f"==> {phase}", "bold")
        if self._record.rows and not self._live.is_started:
            self._live.start()

    def close(self) -> None:
        """Take the table away and give the cursor back, whatever happened."""
        with uninterrupted():
            self._live.stop()

    def _sum_up(self, record: Record, seconds: float) -> None:
        self.close()
        for line in summary.lines(record, seconds, self._console.width - 2):
            self._print(f"  {line}")

    def _print(self, line: str, style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(one_line(line), style=style), soft_wrap=True)

    def _table(self) -> "Table":
        size = self._console.size
        return draw(self._record, self._phase, self._reasons, size.width, size.height, time.monotonic())
