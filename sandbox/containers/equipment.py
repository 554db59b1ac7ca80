"""A real node as a value: which cluster it belongs to, where it is, and the programs that it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox import binaries
from sandbox.components import Component, Probe
from sandbox.containers import checks, packages, programs
from sandbox.containers.packages import Tools
from sandbox.containers.place import Place
from sandbox.controlplane import Cluster, port_name
from sandbox.images import making, site
from sandbox.images.archive import Image
from tasks.lib.background import Background

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings


@dataclass(frozen=True)
class Equipment:
    """What a real node has.

    Args:
        programs: Kubernetes' and the node's own, by name.
        tools: those that run containers.
        container: the description that containerd begins every container with.
        images: of Lookit's site.

    """

    programs: Mapping[str, Path]
    tools: Tools
    container: Mapping[str, Any]
    images: Sequence[Image] = ()


@dataclass(frozen=True)
class Node:
    """A real node, with the server of this machine that is Cloud Storage to it."""

    cluster: Cluster
    place: Place
    equipment: Equipment
    storage: Component

    def server(
        self, name: str, command: Sequence[str], health: str, port: int, after: Sequence[str]
    ) -> Component:
        """A program in the node's namespaces as a server of the sandbox.

        Args:
            name: which server of the node; its own name begins with the cluster's.
            command: what is run inside.
            health: where the node's address answers whether it is healthy, as `PORT/PATH`.
            port: what it is known by.
            after: the servers of this cluster that it needs.

        """
        return Component(
            port_name(self.cluster.name, f"node-{name}"),
            self.place.inside(command),
            Probe(f"http://{self.place.address}:{health}"),
            port,
            tuple(port_name(self.cluster.name, one) for one in after),
            self.equipment.tools.environment,
        )


def obtain(settings: "Settings", folder: Path, commit: str, source: Path | None = None) -> Equipment:
    """Find or make all of it, on a machine that can run a real node for the sandbox in `folder`.

    The application's image is that of `commit`, of `source` where that is given (`site.images`).

    Raises:
        Failure: it cannot, or a program or an image is not available.

    """
    to_make = making.folder() if source or not making.has_all(site.all_recipes()) else None
    checks.require(checks.look(folder, to_make))
    cache = binaries.cache_folder()
    tools = packages.obtain(cache)
    # Images wait for the network while Go has the processor, in the main thread, where a signal ends it.
    images = Background(partial(site.images, settings, commit, source))
    if source:
        images.wait()  # what is wrong with it is said first
    obtained = programs.obtain(cache)
    return Equipment(obtained, tools, packages.container(tools), images.wait())
