"""`python -m sandbox.containers.first_process FOLDER CHANNEL`: the first process in a node's namespaces.

It gives the node a network and folders of its own, opens the sockets of its forwards, and from then on
collects processes that lost their parents, as the first process must.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from sandbox.containers import place
from sandbox.containers.place import KUBELET, PODS, Place

ALL_PROCESSES = -1
LOOK_AGAIN = 0.5


def mounts(folder: Path) -> list[tuple[str, ...]]:
    """The commands that give the node its own /run and /var, for what kubelet and containerd write there.

    Mounts are shared inside, as kubelet wants it, and none is seen outside.
    """
    upper, work = folder / "var", folder / "var.work"
    overlay = f"lowerdir=/var,upperdir={upper},workdir={work}"
    return [
        ("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"),
        ("mount", "-t", "overlay", "-o", overlay, "overlay", "/var"),
        ("mkdir", KUBELET),
        ("mount", "--bind", str(folder / "kubelet"), KUBELET),
        ("mount", "--make-rshared", "/"),
    ]


def network(node: Place) -> list[tuple[str, ...]]:
    """The commands that give the node its addresses."""
    others = sorted({one.address for one in node.forwards} - {node.address})
    if node.database:
        others.append(node.database.address)
    return [
        ("ip", "link", "set", "lo", "up"),
        ("ip", "address", "add", f"{node.address}/{node.prefix}", "dev", "eth0"),
        *(("ip", "address", "add", f"{one}/32", "dev", "lo") for one in others),
        ("ip", "link", "set", "eth0", "up"),
        # Nothing goes that way (see `rules`), but a Service's address needs a way before it is translated.
        ("ip", "route", "add", "default", "via", node.host),
    ]


def rules(node: Place) -> str:
    """Rules for nft: what is sent out of the node is refused at once, except answers to this machine.

    That is also how a node's port of a Service answers: its connections begin on this machine.
    """
    inside = f"{{ {node.host}, {node.address}, {PODS}, 127.0.0.0/8 }}"
    answers = "oifname eth0 ct direction reply accept;"
    forward = f"type filter hook forward priority 0; {answers} oifname eth0 reject;"
    output = f"type filter hook output priority 0; oifname eth0 ip daddr != {inside} reject;"
    return f"table ip sandbox {{\n  chain forward {{ {forward} }}\n  chain output {{ {output} }}\n}}\n"


def main() -> None:
    """Prepare the namespaces, then collect processes until ended."""
    node, channel = place.read(Path(sys.argv[1])), socket.socket(fileno=int(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for folder in ("var", "var.work", "kubelet"):
        node.file(folder).mkdir(exist_ok=True)
    if not channel.recv(16):  # until the link is there
        sys.exit("The process that made these namespaces has ended.")
    for command in [*mounts(node.folder), *network(node)]:
        subprocess.run(command, check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    subprocess.run(("nft", "--file", "-"), input=rules(node).encode(), check=True)
    listeners = [socket.create_server((forward.address, forward.port)) for forward in node.forwards]
    socket.send_fds(channel, [b"ready"], [one.fileno() for one in listeners])
    for one in listeners:
        one.close()
    _collect()


def _collect() -> None:
    """Wait for children for ever; processes whose parents ended become children of this one."""
    while True:
        try:
            os.waitpid(ALL_PROCESSES, 0)
        except ChildProcessError:
            time.sleep(LOOK_AGAIN)


if __name__ == "__main__":
    main()
