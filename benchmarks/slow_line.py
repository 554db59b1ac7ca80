"""A line to a server whose answers arrive late, as over a network; it passes bytes on, no more."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 1 << 16


class SlowLine:
    """A running line.

    Args:
        port: of the server on this machine.
        delay: seconds that whatever it says takes to arrive.

    """

    def __init__(self, port: int, delay: float) -> None:
        self._port, self._delay = port, delay
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        serving = asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)

    @property
    def endpoint(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Accept no more."""
        self._loop.call_soon_threadsafe(self._server.close)

    async def _accept(self, asking: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        saying, hearing = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(asking, hearing, 0.0), self._pass(saying, answering, self._delay))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
        """What comes close together also arrives so: each piece is late, the line is not slow."""
        with suppress(ConnectionError):
            while piece := await source.read(PIECE):
                self._loop.call_later(delay, self._write, target, piece)
        self._loop.call_later(delay, target.close)

    @staticmethod
    def _write(target: asyncio.StreamWriter, piece: bytes) -> None:
        if not target.is_closing():
            target.write(piece)


@contextmanager
def slow_line(port: int, delay: float) -> Iterator[SlowLine]:
    """A line to the server at `port` while inside."""
    line = SlowLine(port, delay)
    try:
        yield line
    finally:
        line.close()
