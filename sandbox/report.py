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
            console.Styled(one.fault, "red") if one.fault else console.Styled("ok", "green"),
        )
        for one in statuses
    ]
    console.table(("Component", "Pid", "Port", "Starts", "Health"), rows)


def emit_json(statuses: Sequence[Status]) -> None:
    """The same as JSON on stdout."""
    console.emit(json.dumps([dataclasses.asdict(one) for one in statuses], indent=2))


def require_well(statuses: Sequence[Status]) -> None:
    """Stop where a component is not well.

    Raises:
        Failure: naming those that are not.

    """
    faults = [f"{one.name}: {one.fault}" for one in statuses if one.fault]
    if faults:
        raise Failure("The sandbox is not well, or not up.", "\n".join(faults), "./inv sandbox.up")


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
