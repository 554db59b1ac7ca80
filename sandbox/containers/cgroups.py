"""Control groups of a real node: one in every hierarchy, below which the kubelet makes those of pods."""

import os
import time
from contextlib import suppress
from pathlib import Path

from tasks.lib import signals
from tasks.lib.errors import Failure

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("cpu", "memory", "pids")
# In version 1, a group of these has no processors or memory until it is told which.
INHERITED = ("cpuset.cpus", "cpuset.mems")
# How much of busy processors a group gets, by the version's file. As it comes, a group has as much as one
# process, and a node has dozens: on a machine with others, the application took a minute to load.
WEIGHTS = {"cpu.shares": "8192", "cpu.weight": "800"}
TIME_LIMIT = 120.0
LOOK_AGAIN = 0.05


def is_unified(root: Path = ROOT) -> bool:
    """Whether this machine has version 2 of control groups."""
    return (root / "cgroup.controllers").exists()


def controllers(root: Path = ROOT) -> set[str]:
    """The controllers that groups below `root` can have."""
    if is_unified(root):
        return set((root / "cgroup.controllers").read_text().split())
    return {name for path in _hierarchies(root) for name in path.name.split(",")}


def is_writable(root: Path = ROOT) -> bool:
    """Whether groups can be made: in a container the hierarchies are often mounted read-only."""
    return all(os.access(path, os.W_OK) for path in _hierarchies(root))


def create(name: str, root: Path = ROOT) -> None:
    """Create the group `name` in every hierarchy; one that exists is kept."""
    for hierarchy in _hierarchies(root):
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for file, weight in WEIGHTS.items():
            if (group / file).exists():
                (group / file).write_text(weight)
        for file in INHERITED:
            if not is_unified(root) and (hierarchy / file).exists():
                (group / file).write_text((hierarchy / file).read_text())


def remove(name: str, root: Path = ROOT) -> None:
    """Remove the group `name` with all below it; its processes have been killed, and may be ending still.

    Raises:
        Failure: a process in it does not end.

    """
    deadline = time.monotonic() + TIME_LIMIT
    while left := [*root.glob(f"*/{name}"), *root.glob(name)]:
        for group in left:
            _remove_tree(group)
        if time.monotonic() > deadline:
            what = f"The control group {left[0]} could not be removed."
            raise Failure(what, "A process in it does not end.", "./inv sandbox.down")
        signals.sleep(LOOK_AGAIN)


def _remove_tree(group: Path) -> None:
    """Remove the groups that are empty, the lowest first."""
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()


def _hierarchies(root: Path) -> list[Path]:
    if is_unified(root):
        return [root]
    return sorted(path for path in root.glob("*") if (path / "tasks").exists() and not path.is_symlink())
