"""containerd on a real node: its configuration, the network of pods, and the images that it has."""

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from sandbox.components import Component
from sandbox.containers.equipment import Node
from sandbox.containers.packages import Tools
from sandbox.containers.place import PODS, TRUSTED, Place
from sandbox.images import archive
from sandbox.images.archive import Image
from tasks.lib import console
from tasks.lib.process import exit_failure

SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "sandbox.local/pause:1"
METRICS_PORT = 1338
IMPORT_TIME_LIMIT = 600.0
# The variables that name the authority that containers trust. Not REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE: with
# them Python's requests, and so Docker's client, ignores the authority that it is given.
TRUST_VARIABLES = ("SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NODE_EXTRA_CA_CERTS")
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
        "base": place.file("base-container.json"),
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
        f"base_runtime_spec = {quoted['base']}\n"
        f"[{cri}.containerd.runtimes.runc.options]\nBinaryName = {quoted['runc']}\nSystemdCgroup = false\n"
        f"[{cri}.cni]\nbin_dir = {quoted['plugins']}\nconf_dir = {quoted['networks']}\n"
    )


def base_container(place: Place, container: Mapping[str, Any]) -> dict[str, Any]:
    """What every container begins with: `container`, containerd's own, that trusts the cluster's authority.

    The authority has signed Google's names here. Programs find it by the variables that OpenSSL, Go, Python's
    requests, gRPC, curl and Node.js know, so neither an image nor an application is changed.
    """
    mount = {
        "destination": TRUSTED,
        "type": "bind",
        "source": str(place.file("trusted.crt")),
        "options": ["bind", "ro"],
    }
    process = {name: value for name, value in container["process"].items() if name != "rlimits"}
    variables = [f"{name}={TRUSTED}" for name in TRUST_VARIABLES]
    return {
        **container,
        "process": {**process, "env": variables},
        "mounts": [*container["mounts"], mount],
    }


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


def import_argv(node: Place, tools: Tools) -> tuple[str, ...]:
    """The command that gives a node the images of the archive on standard input."""
    ctr = (str(tools.programs["ctr"]), f"--address={SOCKET}", "--namespace=k8s.io")
    return node.inside((*ctr, "images", "import", "--snapshotter=overlayfs", "-"))


def import_images(node: Place, tools: Tools, images: Sequence[Image]) -> None:
    """Give a node `images`; those that it has are left out.

    Raises:
        Failure: containerd refuses them.

    """
    known = node.file("images")
    known.mkdir(exist_ok=True)
    there = {one.name for one in known.iterdir()}
    missing = [one for one in images if one.identity not in there]
    if missing:
        console.say(f"Importing {', '.join(one.names[0] for one in missing)} …")
        variables = {**tools.environment, "PYTHONPATH": str(CHECKOUT)}
        _feed(import_argv(node, tools), variables, partial(archive.write, missing, there=there))
    for one in missing:
        for name in (one.identity, *(layer.digest for layer in one.layers)):
            (known / name).touch()


def _feed(argv: Sequence[str], variables: Mapping[str, str], write: Callable[[IO[bytes]], None]) -> None:
    """Run a program on an archive, which is nowhere on the disk as a whole."""
    pipe, environment = subprocess.PIPE, {**os.environ, **variables}
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(argv, stdin=pipe, stdout=said, stderr=said, env=environment) as child:
            limit = threading.Timer(IMPORT_TIME_LIMIT, child.kill)
            limit.start()
            with suppress(BrokenPipeError):  # it ended before the archive did, and has said why
                write(cast("IO[bytes]", child.stdin))
                cast("IO[bytes]", child.stdin).close()
            code = child.wait()
            limit.cancel()
        said.seek(0)
        if code:
            raise exit_failure(argv, code, said.read())
