"""containerd on a real node: its configuration, the network of pods, and the images that it has."""

import json
from collections.abc import Sequence
from pathlib import Path

from sandbox.components import Component
from sandbox.containers.equipment import Node
from sandbox.containers.packages import Tools
from sandbox.containers.place import PODS, Place
from tasks.lib import console
from tasks.lib.process import run

SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "sandbox.local/pause:1"
METRICS_PORT = 1338
IMPORT_TIME_LIMIT = 600.0
CHECKOUT = Path(__file__).resolve().parents[2]
# Plugins that would write to folders of this machine, or look for file systems that are not used.
UNUSED = (
    "internal.v1.opt",
    "nri.v1.nri",
    *(f"snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")),
)


def configuration(node: Node, *, may_lower_oom_score: bool) -> str:
    """The configuration, of the version that containerd 1.6 to 2 read.

    Args:
        node: where it runs.
        may_lower_oom_score: whether this machine lets root protect a process from the out-of-memory killer.

    """
    place, tools = node.place, node.equipment.tools
    paths = {
        "root": place.file("containerd"),
        "runc": tools.programs["runc"],
        "plugins": tools.plugins,
        "networks": place.file("cni"),
    }
    quoted = {name: json.dumps(str(path)) for name, path in paths.items()}
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return (
        "version = 2\n"
        f"root = {quoted['root']}\n"
        'state = "/run/containerd"\n'
        f"disabled_plugins = {json.dumps([f'io.containerd.{name}' for name in UNUSED])}\n"
        f"[grpc]\naddress = {json.dumps(SOCKET)}\n"
        f'[metrics]\naddress = "{place.address}:{METRICS_PORT}"\n'
        f"[{cri}]\n"
        f"sandbox_image = {json.dumps(PAUSE_IMAGE)}\n"
        f"restrict_oom_score_adj = {json.dumps(not may_lower_oom_score)}\n"
        f'[{cri}.containerd]\nsnapshotter = "overlayfs"\ndiscard_unpacked_layers = true\n'
        f'[{cri}.containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
        f"[{cri}.containerd.runtimes.runc.options]\nBinaryName = {quoted['runc']}\nSystemdCgroup = false\n"
        f"[{cri}.cni]\nbin_dir = {quoted['plugins']}\nconf_dir = {quoted['networks']}\n"
    )


def pod_network() -> str:
    """The network of pods for CNI: each has a link of its own to the node, which routes between them."""
    addresses = {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": PODS}]],
                 "routes": [{"dst": "0.0.0.0/0"}]}  # fmt: skip
    plugins = [{"type": "ptp", "ipMasq": False, "ipam": addresses}]
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})


def component(node: Node) -> Component:
    """The server of the sandbox that is containerd."""
    program = node.equipment.tools.programs["containerd"]
    command = (str(program), f"--config={node.place.file('containerd.toml')}")
    return node.server("containerd", command, f"{METRICS_PORT}/v1/metrics", METRICS_PORT, ["node"])


def import_argv(node: Place, tools: Tools, archive: Path) -> tuple[str, ...]:
    """The command that gives a node the images of an archive."""
    ctr = (str(tools.programs["ctr"]), f"--address={SOCKET}", "--namespace=k8s.io")
    return node.inside((*ctr, "images", "import", "--snapshotter=overlayfs", str(archive)))


def import_images(node: Place, tools: Tools, archives: Sequence[Path]) -> None:
    """Give a node the images of `archives`, whose names say their content; those that it has are left out.

    Raises:
        Failure: containerd refuses an archive.

    """
    known = node.file("images")
    known.mkdir(exist_ok=True)
    for archive in archives:
        if not (known / archive.name).exists():
            console.say(f"Importing {archive.name} …")
            variables = {**tools.environment, "PYTHONPATH": str(CHECKOUT)}
            run(import_argv(node, tools, archive), time_limit=IMPORT_TIME_LIMIT, env=variables)
            (known / archive.name).touch()
