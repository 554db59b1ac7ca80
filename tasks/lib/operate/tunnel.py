"""A port of this machine that leads to a pod behind a Service of the cluster, by the pinned kubectl.

The port is on 127.0.0.1 only.  The tunnel ends with this process, even where that is killed.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Final

from tasks.lib import process, signals
from tasks.lib.background import Background
from tasks.lib.cluster import kubectl
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.kubectl import Kubectl
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.operate import workloads
from tasks.lib.settings.model import Environment

ADDRESS: Final = "127.0.0.1"
OPEN: Final = re.compile(rf"Forwarding from {re.escape(ADDRESS)}:(\d+) -> ")
# kubectl says this of each connection.
ORDINARY: Final = ("Forwarding from", "Handling connection")
LAST_LINES: Final = 5


@dataclass(frozen=True)
class Door:
    """Where a tunnel leads: a pod, and the port of its container."""

    pod: str
    port: int


class Tunnel:
    """A kubectl that forwards a port, by what it writes."""

    def __init__(self, output: IO[bytes]) -> None:
        self.port = 0  # of this machine, once it is open
        self.said: deque[str] = deque(maxlen=LAST_LINES)
        self._opened = signals.Event()
        self.end = Background(partial(self._read, output))

    def await_open(self, seconds: float) -> bool:
        """Wait until the port can be used; returns whether it can."""
        signals.until(lambda: self._opened.is_set() or self.end.is_done(0), seconds)
        return self._opened.is_set()

    def failure(self, door: Door) -> Failure:
        """The error for a tunnel that has ended."""
        return Failure(
            f"The tunnel to pod {door.pod} has ended.",
            "\n".join(self.said) or "kubectl ended without a word.",
            "Run the same again: it takes a pod that is ready.",
        )

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            text = line.decode(errors="replace").strip()
            if match := OPEN.match(text):
                self.port = int(match[1])
                self._opened.set()
            if text and not text.startswith(ORDINARY):
                self.said.append(text)


@contextmanager
def tunnel(private: Kubectl, door: Door, local: int, seconds: float) -> Iterator[Tunnel]:
    """A tunnel from port `local` of this machine, 0 for any that is free, while inside.

    Raises:
        UsageError: another program has the port.
        Failure: kubectl cannot open it.
        TimedOut: it was not open within `seconds`.

    """
    ports = f"{local or ''}:{door.port}"
    argv = private.argv("port-forward", f"--address={ADDRESS}", f"pod/{door.pod}", ports)
    with process.beside(argv, env=kubectl.ENVIRONMENT) as output:
        made = Tunnel(output)
        if not made.await_open(seconds):
            raise not_opened(made, door, local, seconds)
        yield made


def not_opened(made: Tunnel, door: Door, local: int, seconds: float) -> Failure:
    """The error for a tunnel that did not open."""
    said = "\n".join(made.said)
    if "address already in use" in said:
        return UsageError(f"Port {local} of this machine is in use.", said, "Choose another one with --port.")
    what = f"A tunnel to pod {door.pod} could not be opened"
    if not made.end.is_done(0):
        return TimedOut(f"{what} within {seconds:g} s.", said, "Check the network, then run it again.")
    return Failure(f"{what}.", said, "./inv doctor checks the way to the cluster.")


def door(api: Api, environment: Environment, service: str) -> Door:
    """The newest ready pod behind a Service, and its port there.

    Raises:
        Failure: there is no such Service, or no pod behind it is ready.

    """
    space = f"/api/v1/namespaces/{environment.namespace}"
    query = {"fieldSelector": f"metadata.name={service}"}
    services, _ = api.list(f"{space}/services", doing=f"read Service {service}", query=query)
    if not services:
        raise Failure(
            f"There is no Service {service} in namespace {environment.namespace}.",
            f"DB_HOST in the secrets of {environment.name} names it as the way to the database.",
            f"./inv status --environment {environment.name} shows what runs.",
        )
    labels = services[0]["spec"].get("selector") or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods, _ = api.list(f"{space}/pods", doing="list pods", query={"labelSelector": selector})
    return choose(services[0], pods if selector else [], environment)


def choose(service: Json, pods: Sequence[Json], environment: Environment) -> Door:
    """The newest ready one of `pods`, and where the Service's first port leads there.

    Raises:
        Failure: none is ready.

    """
    pod = workloads.newest_ready(pods)
    if pod is None:
        raise Failure(
            f"No pod behind Service {service['metadata']['name']} is ready.",
            "\n".join(workloads.why_not_ready(pod) for pod in pods) or "It has no pods.",
            f"./inv status --environment {environment.name} shows why.",
        )
    return Door(str(pod["metadata"]["name"]), port_of(pod, service["spec"]["ports"][0]))


def port_of(pod: Json, port: Json) -> int:
    """The number of the container's port that a Service's port leads to."""
    target = port.get("targetPort") or port["port"]
    named = {
        one.get("name"): one["containerPort"]
        for container in pod["spec"]["containers"]
        for one in container.get("ports") or []
    }
    return int(str(named.get(target, target)))
