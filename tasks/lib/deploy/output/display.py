"""How a deploy is shown: in place on a terminal, as lines elsewhere."""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from tasks.lib.deploy.events import Tell
from tasks.lib.deploy.output.lines import Lines

TICK: Final = 0.25


def in_place(*, terminal: bool, variables: Mapping[str, str]) -> bool:
    """Whether a table may move the cursor: on a terminal that can, with a person before it."""
    capable = variables.get("TERM", "") not in {"", "dumb", "unknown"}
    return terminal and capable and variables.get("CI", "") in {"", "0", "false"}


@contextmanager
def shown() -> Iterator[Tell]:
    """Show the events that are told while inside."""
    if in_place(terminal=sys.stderr.isatty(), variables=os.environ):
        from tasks.lib.deploy.output.terminal import Terminal

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
