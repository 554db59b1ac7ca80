"""A deploy as lines, for logs: one a change, and for each object at most one a second.

What an object says too soon after its last line is held: its newest state follows when the second is over,
or at the end of the phase, when one line tells all that is held.
"""

import re
import threading
import time
from collections.abc import Callable
from typing import Final

from tasks.lib import console
from tasks.lib.deploy import summary
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.progress import Ended, Event, LogLine, Notice, PhaseBegan, Told

QUIET: Final = 1.0
NAMES_ON_ONE_LINE: Final = 8
LONGEST: Final = 2000
# Colours and other commands to a terminal, and what else does not print; tabs are kept.
UNPRINTABLE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b.?|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)


def plain(text: str) -> str:
    """`text` without anything that a terminal would obey: containers write what they like."""
    return UNPRINTABLE.sub("", text)


def clipped(text: str) -> str:
    """`text`, without what goes beyond what anybody reads: some programs log whole pages as one line."""
    rest = len(text) - LONGEST
    return text if rest <= 0 else f"{text[:LONGEST]} … and {rest} characters more"


def clipped_lines(text: str) -> str:
    """The same for each line."""
    return "\n".join(map(clipped, text.splitlines()))


def logged(event: LogLine) -> str:
    """A line of a container's log, as it is shown."""
    return f"  {plain(event.pod)} | {clipped(plain(event.line))}"


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
                    self._held[ref] = plain(text)
                    self._say_due(ref)
                case LogLine():
                    self._say(logged(event))
                case Ended(record, seconds):
                    self._release()
                    for line in summary.lines(record, seconds):
                        self._say(f"  {plain(line)}")
                case Notice(text):
                    self._release()
                    self._say(f"  {plain(text)}")

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
