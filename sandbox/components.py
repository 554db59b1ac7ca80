"""The servers of a sandbox as values: what to run, after what, and how to ask each whether it is healthy."""

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.state import stored
from tasks.lib.files import write_atomically

# What there is one of in a sandbox, however many clusters.
CLOUD, STORAGE, KMS = "google", "storage", "kms"
TIME_LIMIT = 2.0


@dataclass(frozen=True)
class Probe:
    """How to ask a component whether it is healthy: an http(s) URL that answers 200, or tcp://host:port."""

    url: str
    ca_file: str = ""

    def problem(self, time_limit: float = TIME_LIMIT) -> str:
        """What is wrong with the component; an empty text when it is healthy."""
        parts = urlsplit(self.url)
        try:
            if parts.scheme == "tcp":
                socket.create_connection((parts.hostname or "", parts.port or 0), time_limit).close()
                return ""
            return self._asked(time_limit)
        except (OSError, ValueError) as error:
            return str(getattr(error, "reason", error)) or type(error).__name__

    def _asked(self, time_limit: float) -> str:
        import ssl
        import urllib.error
        import urllib.request

        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        no_proxy = urllib.request.ProxyHandler({})
        opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(self.url, timeout=time_limit):
                return ""
        except urllib.error.HTTPError as error:
            return f"answers {error.code}"


@dataclass(frozen=True)
class Component:
    """One server; those of a cluster are called `<cluster>.<what>`."""

    name: str
    argv: Sequence[str]
    probe: Probe
    port: int
    after: Sequence[str] = ()  # components that have to be healthy before it is started
    env: Mapping[str, str] = field(default_factory=dict)  # variables beside the supervisor's own


def write_plan(path: Path, components: Sequence[Component]) -> None:
    """Write which components shall run, for the supervisor to read."""
    write_atomically(path, json.dumps([asdict(component) for component in components], indent=1).encode())


def read_plan(path: Path) -> list[Component]:
    """Which components shall run; none where no plan was written."""
    try:
        entries: list[dict[str, Any]] = stored(path)
    except FileNotFoundError:
        return []
    return [Component(**{**entry, "probe": Probe(**entry["probe"])}) for entry in entries]
