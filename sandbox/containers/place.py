"""Where a real node keeps its files, and what is its own on this machine: addresses, link, control group."""

import ipaddress
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox.components import CLOUD, STORAGE
from sandbox.ports import RANGE
from sandbox.processes import Process
from sandbox.storage import GOOGLES_NAME
from tasks.lib.files import write_atomically

NODE = "real-node-1"
# A namespace's annotation names a value of this label: where its pods run.
LABEL = "sandbox.lookit.org/node"
SIMULATED, REAL = "simulated", "real"
# For tests of networks (RFC 2544): no network that a machine is in has these addresses.
NETWORK = ipaddress.IPv4Network("198.18.0.0/15")
PODS = "10.88.0.0/16"
API_PORT = 6443
# Where containers see the authority that they trust.
TRUSTED = "/etc/sandbox-authority.crt"
# Where the node sees `kubelet` of its folder. Sockets lie there, and a socket's path has 107 bytes at most.
KUBELET = "/run/kubelet"
HEALTH_PORT = 10247  # leads to a server of this machine, as the API server's port does
# Google's names as pods ask for them, and the sandbox's server that stands for each.
GOOGLE = {
    STORAGE: (GOOGLES_NAME,),
    CLOUD: ("oauth2.googleapis.com", "sqladmin.googleapis.com", "www.googleapis.com"),
}


@dataclass(frozen=True)
class Forward:
    """A port of the node that leads to one of loopback; with a certificate it speaks TLS.

    With `clients`, an authority, it takes only clients whose certificates that has signed.
    """

    address: str
    port: int
    target: int
    certificate: str = ""
    key: str = ""
    clients: str = ""


@dataclass(frozen=True)
class Place:
    """One real node.

    Args:
        folder: its own, in the cluster's.
        number: a port that no other sandbox of this machine has; all names and addresses come from it.
        forwards: what of this machine the node and its pods reach; all addresses are the node's.
        database: the way to the environment's Cloud SQL instance, within the node; None: it has none.

    """

    folder: Path
    number: int
    forwards: tuple[Forward, ...] = ()
    database: Forward | None = None

    @property
    def host(self) -> str:
        """This machine's address on the link to the node."""
        return str(self._network[1])

    @property
    def address(self) -> str:
        """The node's address: of kubelet, kube-proxy, DNS, and what leads to the API server."""
        return str(self._network[2])

    @property
    def _network(self) -> ipaddress.IPv4Network:
        first = int(NETWORK.network_address) + 8 * (self.number - RANGE.start)
        return ipaddress.IPv4Network((first, 29))

    def google(self, component: str) -> str:
        """The node's address in whose place a server of Google's side stands."""
        return str(self._network[3 + tuple(GOOGLE).index(component)])

    @property
    def instance(self) -> str:
        """The node's address in whose place the Cloud SQL instance stands."""
        return str(self._network[3 + len(GOOGLE)])

    @property
    def prefix(self) -> int:
        """How long the prefix of both addresses is."""
        return self._network.prefixlen

    @property
    def link(self) -> str:
        """This machine's end of the link to the node."""
        return f"lookit{self.number}"

    @property
    def group(self) -> str:
        """The control group of all pods, in every hierarchy."""
        return f"lookit-node-{self.number}"

    @property
    def disks(self) -> Path:
        """Where the volumes of claims lie."""
        return self.folder / "disks"

    def file(self, name: str) -> Path:
        """A file of the node's configuration."""
        return self.folder / name

    def inside(self, command: Sequence[str]) -> tuple[str, ...]:
        """The command that runs `command` in the node's namespaces."""
        return (sys.executable, "-m", "sandbox.containers.enter", str(self.folder), *command)

    def write(self) -> None:
        """Write it down for the node's processes."""
        values = {
            "number": self.number,
            "forwards": [asdict(one) for one in self.forwards],
            "database": asdict(self.database) if self.database else None,
        }
        write_atomically(self.file("place.json"), json.dumps(values).encode())

    def first_process(self) -> Process | None:
        """The first process in the node's namespaces; None when it does not run."""
        try:
            found: Mapping[str, int] = json.loads(self.file("first-process.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        process = Process(found["pid"], found["started"])
        return process if process.alive else None

    def write_first_process(self, process: Process) -> None:
        """Write down which process that is."""
        write_atomically(self.file("first-process.json"), json.dumps(asdict(process)).encode())


def read(folder: Path) -> Place:
    """The node whose files are in `folder`.

    Raises:
        FileNotFoundError: there is none.

    """
    values = json.loads((folder / "place.json").read_text())
    database = values.get("database")
    return Place(
        folder,
        values["number"],
        tuple(Forward(**one) for one in values["forwards"]),
        Forward(**database) if database else None,
    )


def folder_of(cluster: Path) -> Path:
    """The folder of the real node in a cluster's folder; it exists where the cluster has one."""
    return cluster / "node"
