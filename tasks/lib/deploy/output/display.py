"""How a deploy is shown while it runs: as a table in place on a terminal, as lines elsewhere.

As lines there is one a change, and for each object at most one a second.  What an object says too soon after
its last line is held: its latest state follows when the second is over, or at the end of the phase.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.lib import console
from tasks.lib.deploy import new_release
from tasks.lib.deploy.events import Began, Ended, Event, LogLine, Notice, PhaseBegan, Record, Tell, Told
from tasks.lib.deploy.new_release import Request
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.output.report import kept
from tasks.lib.deploy.output.table import draw, summary
from tasks.lib.deploy.recovery import support_bundle
from tasks.lib.printable import clipped, one_line
from tasks.lib.settings.model import Settings
from tasks.lib.signals import uninterrupted

if TYPE_CHECKING:
    from rich.table import Table

TICK: Final = 0.25
QUIET: Final = 1.0
NAMES_ON_ONE_LINE: Final = 8
DRAWN_A_SECOND: Final = 4


def in_place(*, terminal: bool, variables: Mapping[str, str]) -> bool:
    """Whether a table may move the cursor: on a terminal that can, with a person before it."""
    capable = variables.get("TERM", "") not in {"", "dumb", "unknown"}
    return terminal and capable and variables.get("CI", "") in {"", "0", "false"}


@contextmanager
def shown() -> Iterator[Tell]:
    """Show the events that are told while inside."""
    if in_place(terminal=sys.stderr.isatty(), variables=os.environ):
        terminal = Terminal()
        try:
            yield terminal
        finally:
            terminal.close()
        return
    lines, ended = Lines(), threading.Event()

    def tick() -> None:
        while not ended.wait(TICK):
            lines.say_due()

    ticking = threading.Thread(target=tick, name="lines", daemon=True)
    ticking.start()
    try:
        yield lines
    finally:
        ended.set()
        ticking.join()


def deploy(settings: Settings, request: Request, report_folder: str, bucket: str) -> None:
    """Deploy before the user's eyes; where that is asked for, write a report, and copy what a failure left.

    Raises UsageError where there is no such folder or bucket; nothing was begun. Raises Failure as the deploy
    itself does.
    """
    bundles = settings.root / (request.evidence or settings.deploy.evidence)
    written = [bundles, *([Path(report_folder)] if report_folder else [])]
    with (
        support_bundle.after_failure(settings, bucket, written),
        shown() as show,
        kept(report_folder, request, show) as tell,
    ):
        new_release.deploy(settings, request, tell)


def logged(event: LogLine) -> str:
    """A line of a container's log, as it is shown."""
    return f"  {one_line(event.pod)} | {clipped(one_line(event.line))}"


class Lines:
    """Receives events and says them."""

    def __init__(
        self, say: Callable[[str], None] = console.say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._clock = say, clock
        self._said_at: dict[Ref, float] = {}
        self._held: dict[Ref, str] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Say an event, or hold it for a moment."""
        with self._lock:
            match event:
                case PhaseBegan(title):
                    self._release()
                    self._say(f"==> {title}")
                case Told(ref, text):
                    self._held[ref] = one_line(text)
                    self._say_due(ref)
                case LogLine():
                    self._say(logged(event))
                case Ended(record, seconds):
                    self._release()
                    for line in summary(record, seconds):
                        self._say(f"  {one_line(line)}")
                case Notice(text):
                    self._release()
                    self._say(f"  {one_line(text)}")

    def say_due(self) -> None:
        """Say what has been held long enough."""
        with self._lock:
            for ref in list(self._held):
                self._say_due(ref)

    def _say_due(self, ref: Ref) -> None:
        if self._clock() - self._said_at.get(ref, -QUIET) >= QUIET:
            self._say(f"  {ref}: {self._held.pop(ref)}")
            self._said_at[ref] = self._clock()  # writing may have taken a while

    def _release(self) -> None:
        """Say all that is held, in one line."""
        if not self._held:
            return
        told = [f"{ref} {text}" for ref, text in self._held.items()]
        rest = len(told) - NAMES_ON_ONE_LINE
        more = [f"and {rest} more"] if rest > 0 else []
        self._say(f"  latest: {'; '.join([*told[:NAMES_ON_ONE_LINE], *more])}")
        self._held.clear()


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
        for line in summary(record, seconds, self._console.width - 2):
            self._print(f"  {line}")

    def _print(self, line: str, style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(one_line(line), style=style), soft_wrap=True)

    def _table(self) -> "Table":
        size = self._console.size
        return draw(self._record, self._phase, self._reasons, size.width, size.height, time.monotonic())
