"""Making things in the engine, and stopping a container that may be just in the making.

The engine goes on with what a client asked for before it was ended, which is there then after all else is
gone.  So a client that makes something is out of reach of signals to our process group, as Ctrl-C is, and is
waited for.
"""

import time
from collections.abc import Sequence

from tasks.lib import process, signals
from tasks.lib.errors import Failure
from tasks.lib.image import docker

SECONDS_TO_BE_MADE = 0.1  # between two attempts to stop what is not there yet


def make(argv: Sequence[str], seconds: float) -> None:
    """Run one of Docker's commands that make something; a signal that comes meanwhile waits for its end.

    Args:
        argv: the command.
        seconds: its time limit.

    Raises:
        Failure: it failed.
        TimedOut: it took longer.
        KeyboardInterrupt: a signal came.

    """
    with signals.uninterrupted():
        process.run(argv, time_limit=seconds, apart=True)
    signals.check()


def remove(argv: Sequence[str], seconds: float) -> None:
    """Run one of Docker's commands that remove something; a second Ctrl-C does not end it.

    Args:
        argv: the command.
        seconds: its time limit.

    Raises:
        Failure: it failed.
        TimedOut: it took longer.

    """
    process.run(argv, time_limit=seconds, apart=True)


def stop(container: str, ended: process.Ended, grace: float, seconds: float) -> None:
    """Stop the container of a `docker run` until that has ended; it may not be made or started yet.

    Args:
        container: its name.
        ended: waits at most so many seconds for the `docker run`, and says whether it has ended.
        grace: seconds that the container has to end by itself.
        seconds: how long it may take besides.

    Raises:
        Failure: it cannot be stopped in that time.

    """
    deadline = time.monotonic() + grace + seconds
    while not ended(SECONDS_TO_BE_MADE):
        late = time.monotonic() >= deadline
        try:
            process.run(docker.stop(container, grace), time_limit=grace + seconds, apart=True)
        except Failure:  # it is not there yet, or not any more
            if late:
                raise
        else:
            if late:
                return
