"""What libcurl has on its way: one multi handle, with connections that are kept and used again.

libcurl allows one thread at a time: whoever calls a line has it alone for as long as that takes.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol

from tasks.lib import signals

# Without an answer, whoever waits looks this often whether it should go on.
LONGEST_WAIT = 1.0


class Ended(Exception):  # noqa: N818 - nobody's error: whoever ends a line knows
    """What was on its way was given up, because an upload is ended."""


class Carrier(Protocol):
    """Carries requests that a pool has prepared: a line of its own, or a lane of one that several share."""

    @property
    def room(self) -> int:
        """How many requests may be on their way, or being prepared, at once."""

    def handle(self) -> Any:
        """A handle of libcurl's for one request."""

    def give_back(self, handle: Any) -> None:
        """Take back a handle that is neither on its way nor looked at any more."""

    def send(self, handle: Any) -> None:
        """Send what the handle was told."""

    def finished(self, seconds: float) -> list[tuple[Any, str]]:
        """The handles that are done, each with why there is no answer, or an empty text.

        There may be none; where none is on its way, `seconds` pass, or somewhat less.

        Raises:
            Ended: the line was ended.

        """

    def withdraw(self) -> None:
        """Give up all that was sent; when this returns, nothing reads a body any more."""

    def close(self) -> None:
        """Send no more."""


class Line:
    """Sends requests, at most `connections` at a time."""

    def __init__(self, connections: int) -> None:
        import pycurl

        # Its own type information leaves out what its C part defines.
        self._curl: Any = pycurl
        self._multi = self._curl.CurlMulti()
        self._multi.setopt(self._curl.M_MAXCONNECTS, connections)
        self._idle: list[Any] = []
        self._sent: set[Any] = set()
        self.room = connections

    def handle(self) -> Any:
        """A handle of libcurl's for one request; any thread may ask for one."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._curl.Curl()

    def give_back(self, handle: Any) -> None:
        """Take back a handle that is neither on its way nor looked at any more; any thread may."""
        handle.reset()
        self._idle.append(handle)

    def send(self, handle: Any) -> None:
        """Send what the handle was told."""
        self._multi.add_handle(handle)
        self._sent.add(handle)

    def finished(self, seconds: float) -> list[tuple[Any, str]]:
        """The handles that are done, each with why there is no answer, or an empty text."""
        while self._multi.perform()[0] == self._curl.E_CALL_MULTI_PERFORM:
            pass
        done = self._collected()
        if not done:
            self._wait(min(LONGEST_WAIT, seconds))
        return done

    def withdraw(self) -> None:
        """Give up all that was sent."""
        self.take_off(tuple(self._sent))

    def take_off(self, handles: Iterable[Any]) -> None:
        """Give up some of what was sent."""
        for handle in handles:
            self._sent.remove(handle)
            self._multi.remove_handle(handle)

    def close(self) -> None:
        """Close all connections."""
        with suppress(IndexError):  # other threads may take handles meanwhile
            while True:
                self._idle.pop().close()
        self._multi.close()

    def _wait(self, seconds: float) -> None:
        """Wait until there is something to do."""
        if self._sent:
            self._multi.select(seconds)
        else:
            signals.sleep(seconds)

    def _collected(self) -> list[tuple[Any, str]]:
        found: list[tuple[Any, str]] = []
        left = 1
        while left:
            left, done, failed = self._multi.info_read()
            found.extend((handle, "") for handle in done)
            found.extend((handle, f"{why or 'libcurl error'} ({code})") for handle, code, why in failed)
        self.take_off(handle for handle, _ in found)
        return found
