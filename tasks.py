"""The root of all tasks: it wires the collections of tasks/ together, where invoke.yaml can be read."""

from importlib import import_module
from pathlib import Path
from typing import Any

from invoke import Collection, Task

# This file and the folder share a name, and Invoke loads the file first, which hides the folder: lend it the
# folder, so that `tasks.settings` means tasks/settings.py.
__path__ = [str(Path(__file__).with_suffix(""))]

from tasks import cli

# Each holds a task, or a collection of tasks, of its own name, or else is such a collection as a whole.
MODULES = (
    "app",
    "build",
    "check",
    "cluster",
    "database",
    "decrypt",
    "deploy",
    "doctor",
    "ember",
    "images",
    "pipeline",
    "plan",
    "push",
    "rehearse",
    "release",
    "render",
    "sandbox",
    "secrets",
    "settings",
    "setup",
    "status",
    "test",
    "upload",
)


def part(name: str) -> "Task[Any] | Collection":
    """The task or the collection that tasks/<name>.py is for."""
    module = import_module(f"tasks.{name}")
    found: Task[Any] | Collection = getattr(module, name, None) or Collection.from_module(module)
    return found


cli.refuse_unreadable_settings()

namespace = Collection(*(part(name) for name in MODULES))
