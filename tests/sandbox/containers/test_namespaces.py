"""What leads connections of a node on to this machine, on loopback."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from sandbox.containers import namespaces
from sandbox.containers.place import Forward


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back all it got, once its client has sent all."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, client.makefile("rb") as received:
                    client.sendall(received.read())

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


async def said(forward: Forward, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """What comes back through a forward."""
    listener = socket.create_server(("127.0.0.1", 0))
    async with await namespaces.forwarding(forward, listener):
        name = "node.local" if context else None
        address = listener.getsockname()
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=name)
        writer.write(data)
        if context is None:
            writer.write_eof()
        answer = await reader.read() if context is None else b""
        writer.close()
        return answer


def test_everything_comes_through_and_the_end_too(echo: int) -> None:
    data = bytes(range(256)) * 20_000

    assert asyncio.run(said(Forward("127.0.0.1", 1, echo), data)) == data


def test_a_target_that_is_down_ends_the_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = taken.getsockname()[1]

        assert asyncio.run(said(Forward("127.0.0.1", 1, nobody), b"hello")) == b""


def test_with_a_certificate_it_speaks_tls(echo: int, tmp_path: Path) -> None:
    authority = trustme.CA()
    own = authority.issue_cert("node.local")
    own.cert_chain_pems[0].write_to_path(tmp_path / "crt")
    own.private_key_pem.write_to_path(tmp_path / "key")
    context = ssl.create_default_context()
    authority.configure_trust(context)

    asyncio.run(
        said(Forward("127.0.0.1", 1, echo, str(tmp_path / "crt"), str(tmp_path / "key")), b"hello", context)
    )
