"""`python -m sandbox.containers.namespaces FOLDER`: a node's namespaces, for as long as this process runs.

It makes them, joins them to this machine by a pair of links, and leads connections to the node's ports on
to loopback: the sockets were opened inside, the connections are made outside, and no firewall is in between.
When it ends, however it ends, the kernel ends the first process inside, and with that every process there.
"""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from sandbox import processes
from sandbox.containers import cgroups, place
from sandbox.containers.place import Forward, Place
from sandbox.processes import Process

TIME_LIMIT = 120.0  # a busy machine takes as long for a few processes
PIECE = 256 * 1024


def argv(folder: Path, channel: int) -> tuple[str, ...]:
    """The command that makes the namespaces and runs their first process, which talks over `channel`."""
    return (
        *("setpriv", "--pdeathsig=KILL"),
        *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
        *("--propagation=slave", "--"),
        *(sys.executable, "-m", "sandbox.containers.first_process", str(folder), str(channel)),
    )


def links(node: Place, first: int) -> list[tuple[str, ...]]:
    """The commands that join the namespaces of process `first` to this machine."""
    return [
        ("ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", str(first)),
        ("ip", "address", "add", f"{node.host}/{node.prefix}", "dev", node.link),
        ("ip", "link", "set", node.link, "up"),
    ]


def unlink(node: Place) -> tuple[str, ...]:
    """The command that removes this machine's end of the link."""
    return ("ip", "link", "delete", node.link)


def main() -> int:
    """Make the namespaces and serve until they end; returns the exit code of their first process."""
    node = place.read(Path(sys.argv[1]))
    cgroups.create(node.group)
    ours, theirs = socket.socketpair()
    child = subprocess.Popen(argv(node.folder, theirs.fileno()), pass_fds=[theirs.fileno()])
    theirs.close()
    first = _first_process(child)
    # What a predecessor left goes a moment after it.
    subprocess.run(unlink(node), check=False, capture_output=True)
    for command in links(node, first.pid):
        subprocess.run(command, check=True)
    # Before the first socket is opened inside: that is when other servers of the node may be started.
    node.write_first_process(first)
    ours.send(b"linked")
    listeners = _receive(ours, len(node.forwards))
    return asyncio.run(_serve(node.forwards, listeners, child))


def _first_process(unshare: "subprocess.Popen[bytes]") -> Process:
    """The child of `unshare`; SystemExit when that ends before."""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline and unshare.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(unshare.pid).children():
                if found := processes.find(child.pid):
                    return found
        time.sleep(0.01)
    sys.exit("The node's namespaces could not be made.")


def _receive(channel: socket.socket, count: int) -> list[socket.socket]:
    """The sockets that the first process opened, in the order of the forwards."""
    channel.settimeout(TIME_LIMIT)
    _, descriptors, _, _ = socket.recv_fds(channel, 16, count)
    if len(descriptors) != count:
        sys.exit("The node's first process ended before its network was ready.")
    return [socket.socket(fileno=one) for one in descriptors]


async def _serve(
    forwards: Sequence[Forward], listeners: Sequence[socket.socket], child: "subprocess.Popen[bytes]"
) -> int:
    async with contextlib.AsyncExitStack() as stack:
        for forward, listener in zip(forwards, listeners, strict=True):
            await stack.enter_async_context(await forwarding(forward, listener))
        return await asyncio.to_thread(child.wait)


async def forwarding(forward: Forward, listener: socket.socket) -> asyncio.Server:
    """Lead connections to `listener` on to the forward's target."""
    context = None
    if forward.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(forward.certificate, forward.key)
        if forward.clients:
            context.load_verify_locations(forward.clients)
            context.verify_mode = ssl.CERT_REQUIRED

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", forward.target)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
            inner_writer.close()
        writer.close()

    return await asyncio.start_server(lead, sock=listener, ssl=context)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, and pass that on; with TLS there is no end but that of the whole connection."""
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()


if __name__ == "__main__":
    sys.exit(main())
