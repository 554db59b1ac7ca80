"""The servers of a sandbox as values: what to run, after what, and how to ask each whether it is well."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox.state import stored
from tasks.lib.files import write_atomically

# What there is one of in a sandbox, however many clusters; kms-rest is a second port, not a second server.
CLOUD, STORAGE, KMS, KMS_REST = "google", "storage", "kms", "kms-rest"


@dataclass(frozen=True)
class Probe:
    """How to ask a component whether it is well: an http(s) URL that answers 200, or tcp://host:port."""

    url: str
    ca_file: str = ""


@dataclass(frozen=True)
class Component:
    """One server.

    Args:
        name: unique in the sandbox; those of a cluster are called `<cluster>.<what>`.
        argv: the program and its arguments.
        probe: when it counts as well.
        port: what it listens on.
        after: components that have to be well before it is started.
        env: variables beside the supervisor's own.

    """

    name: str
    argv: Sequence[str]
    probe: Probe
    port: int
    after: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def write_plan(path: Path, components: Sequence[Component]) -> None:
    """Write what shall run, for the supervisor to read."""
    write_atomically(path, json.dumps([asdict(component) for component in components], indent=1).encode())


def read_plan(path: Path) -> list[Component]:
    """What shall run; nothing where no plan was written.

    Raises:
        Failure: the file is damaged.

    """
    try:
        entries: list[dict[str, Any]] = stored(path)
    except FileNotFoundError:
        return []
    return [Component(**{**entry, "probe": Probe(**entry["probe"])}) for entry in entries]
