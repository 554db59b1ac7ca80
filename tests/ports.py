"""Ports for servers of tests, which must be known before the server has them."""

import os

from sandbox import ports

# Below the sandboxes' own, some of which are given and not used yet; a part of it for each worker.
FIRST, EACH, PARTS = 12_000, 500, 16
SHARED = range(FIRST - EACH, FIRST)  # for servers that workers share, under a lock


def mine(worker: str) -> range:
    """The ports of one worker of pytest-xdist, such as gw3; `main` without workers."""
    number = int(worker.removeprefix("gw")) % PARTS if worker.startswith("gw") else 0
    return range(FIRST + number * EACH, FIRST + (number + 1) * EACH)


def free_port(among: range | None = None) -> int:
    """A port that nobody listens on, and that no sandbox and no other worker takes."""
    return ports.free_port((), among or mine(os.environ.get("PYTEST_XDIST_WORKER", "main")))
