"""What a person or a script sees of a sandbox."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.watching import Status
from tasks.lib import console, signals
from tasks.lib.errors import Failure

LOOK_AGAIN = 0.2


def show(statuses: Sequence[Status]) -> None:
    """A table: component, process, port, starts, health."""
    rows = [
        (
            one.name,
            str(one.pid or "-"),
            str(one.port or "-"),
            str(one.starts),
            console.Styled(one.problem, "red") if one.problem else console.Styled("ok", "green"),
        )
        for one in statuses
    ]
    console.table(("Component", "Pid", "Port", "Starts", "Health"), rows)


def emit_json(statuses: Sequence[Status]) -> None:
    """The same as JSON on stdout."""
    console.emit(json.dumps([dataclasses.asdict(one) for one in statuses], indent=2))


def require_healthy(statuses: Sequence[Status]) -> None:
    """Fail where a component is not healthy, and name it."""
    problems = [f"{one.name}: {one.problem}" for one in statuses if one.problem]
    if problems:
        raise Failure("The sandbox is not healthy, or not up.", "\n".join(problems), "./inv sandbox.up")


def print_log(path: Path, *, follow: bool) -> None:
    """Print a log file to stdout; with `follow`, go on until interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open(errors="replace") as file:
        while True:
            sys.stdout.write(file.read())
            sys.stdout.flush()
            if not follow:
                return
            signals.sleep(LOOK_AGAIN)
