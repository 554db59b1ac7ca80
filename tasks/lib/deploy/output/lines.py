"""A deploy as lines, for logs: one a change, and for each object at most one a second.

What an object says too soon after its last line is held: its newest state follows when the second is over,
or at the end of the phase, when one line tells all that is held.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from tasks.lib import console
from tasks.lib.deploy.events import Ended, Event, LogLine, Notice, PhaseBegan, Told
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.output import summary
from tasks.lib.printable import clipped, one_line

QUIET: Final = 1.0
NAMES_ON_ONE_LINE: Final = 8


def logged(event: LogLine) -> str:
    """A line of a container's log, as it is shown."""
    return f"  {one_line(event.pod)} | {clipped(one_line(event.line))}"


class Lines:
    """Receives events and says them.

    Args:
        say: prints one line.
        clock: counts seconds.

    """

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
                    for line in summary.lines(record, seconds):
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
        self._say(f"  by now: {'; '.join([*told[:NAMES_ON_ONE_LINE], *more])}")
        self._held.clear()
