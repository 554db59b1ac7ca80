"""One line for the pools of several threads: one of its own moves the bytes of all.

Pools prepare their requests and look at the answers on their own threads; handles go to the line's thread and
come back.  So one pool that reads, unpacks or compresses for long keeps none of the others waiting; only the
bodies of large files are read on the line's thread, piece by piece.
"""

import contextlib
import itertools
import select
import socket
import threading
from collections import Counter, deque
from math import ceil
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from tasks.lib.background import Background
from tasks.lib.ember.line import LONGEST_WAIT, Ended, Line

# What is waited for on what libcurl tells of: it may be read, be written to, or have failed.
EVENTS = (select.POLLIN, select.POLLOUT, select.POLLPRI)


class Woken(Line):
    """A line whose waiting another thread can cut short."""

    def __init__(self, connections: int) -> None:
        super().__init__(connections)
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._rung = False

    def wake(self) -> None:
        """Cut the waiting short that goes on now, or else the next one; any thread may."""
        if not self._rung:
            self._rung = True
            # One ring that was not heard yet is enough, and a line that is closed hears none.
            with contextlib.suppress(OSError):
                self._rope.send(b"\0")

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self._bell.close()
        self._rope.close()

    def _wait(self, seconds: float) -> None:
        due = self._multi.timeout()  # milliseconds until libcurl itself has something to do, or -1
        seconds = min(seconds, due / 1000) if due >= 0 else seconds
        watched = Counter({self._bell.fileno(): select.POLLIN})
        for descriptors, event in zip(self._multi.fdset(), EVENTS, strict=True):
            for one in descriptors:
                watched[one] |= event
        waiting = select.poll()  # unlike select(), it takes numbers above 1023
        for one, events in watched.items():
            waiting.register(one, events)
        if any(one == self._bell.fileno() for one, _ in waiting.poll(ceil(seconds * 1000))):
            self._bell.recv(4096)
            # Only now: what is handed over from here on rings again, what came before is about to be seen.
            self._rung = False


class Shared:
    """A line that several pools share, as long as the block lasts.

    Args:
        line: what they share; it is closed at the end.
    """

    def __init__(self, line: Woken) -> None:
        self.line = line
        self.lanes: tuple[Lane, ...] = ()
        self.ended = False
        self._carried: dict[Any, Lane] = {}
        self._given_up: deque[tuple[Lane, threading.Event]] = deque()
        self._order = itertools.count(1)
        self._empty = threading.Event()
        self._lock = threading.Lock()
        self._thread = Background(self._carry)

    def __enter__(self) -> Self:
        """It carries already."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        """Give up what is on its way, so that every pool ends, and close the connections."""
        self.ended = True
        self.line.wake()
        self._thread.wait()

    def lane(self) -> "Lane":
        """A new way onto the line, for one pool."""
        made = Lane(self)
        with self._lock:
            self.lanes = (*self.lanes, made)
        return made

    def leave(self, lane: "Lane") -> None:
        """A pool is closed; nothing of it is on its way."""
        with self._lock:
            self.lanes = tuple(other for other in self.lanes if other is not lane)

    def give_up(self, lane: "Lane") -> None:
        """Take a lane's requests off the line; when this returns, nothing reads their bodies any more."""
        done = threading.Event()
        self._given_up.append((lane, done))
        self.line.wake()
        # In this order: what is noted before the line is empty for good is looked at once more after that.
        if not self._empty.is_set():
            done.wait()

    def _carry(self) -> None:
        """Move the bytes; all that is done to the line itself is done here."""
        try:
            while not self.ended:
                self._admit()
                for handle, error in self.line.finished(LONGEST_WAIT):
                    lane = self._carried.pop(handle)
                    lane.carried -= 1
                    lane.arrived.put((handle, error))
                self._heed()
        finally:
            self.ended = True
            try:
                self.line.withdraw()
            finally:
                self._let_go()

    def _let_go(self) -> None:
        """Close the line, then end every pool; whatever went wrong with it, nobody waits for it any more."""
        self._carried.clear()
        try:
            self.line.close()  # first: a handle that is still on it cannot be given back
        finally:
            self._empty.set()
            self._heed()
            for lane in self.lanes:
                lane.arrived.put(None)

    def _admit(self) -> None:
        """Send as many as there is room for, each time of the lane with the fewest on their way.

        Of several such lanes it is the one that was not served for longest.
        """
        while len(self._carried) < self.line.room:
            waiting = [lane for lane in self.lanes if lane.handed_over]
            if not waiting:
                return
            lane = min(waiting, key=lambda one: (one.carried, one.served))
            lane.served = next(self._order)
            handle = lane.handed_over.popleft()
            self._carried[handle] = lane
            lane.carried += 1
            self.line.send(handle)

    def _heed(self) -> None:
        """Take off the line what was given up."""
        while self._given_up:
            lane, done = self._given_up.popleft()
            lane.handed_over.clear()
            handles = [handle for handle, of in self._carried.items() if of is lane]
            self.line.take_off(handles)
            for handle in handles:
                del self._carried[handle]
            lane.carried = 0
            done.set()


class Lane:
    """One pool's way onto a shared line, for one thread at a time."""

    def __init__(self, shared: Shared) -> None:
        self.handed_over: deque[Any] = deque()
        self.arrived: SimpleQueue[tuple[Any, str] | None] = SimpleQueue()
        # What is on its way, and when one of it was sent last: the line's thread counts.
        self.carried = self.served = 0
        # What was sent and is not back yet, by this lane's own count.
        self.used = 0
        self._shared = shared

    @property
    def room(self) -> int:
        """A fair share: as much as the line has for each lane that has something to send now."""
        using = sum(1 for lane in self._shared.lanes if lane.used)
        return max(1, self._shared.line.room // max(1, using))

    def handle(self) -> Any:
        """A handle of libcurl's for one request."""
        return self._shared.line.handle()

    def give_back(self, handle: Any) -> None:
        """Take back a handle that is neither on its way nor looked at any more."""
        self._shared.line.give_back(handle)

    def send(self, handle: Any) -> None:
        """Hand over what the handle was told."""
        self.used += 1
        self.handed_over.append(handle)
        self._shared.line.wake()

    def finished(self, seconds: float) -> list[tuple[Any, str]]:
        """The handles that are done, each with why there is no answer, or an empty text.

        Raises:
            Ended: the line was ended.

        """
        done: list[tuple[Any, str] | None] = []
        with contextlib.suppress(Empty):
            if not self._shared.ended:
                done.append(self.arrived.get(timeout=min(LONGEST_WAIT, seconds)))
            while True:
                done.append(self.arrived.get_nowait())
        if self._shared.ended:
            raise Ended
        self.used -= len(done)
        return [one for one in done if one]

    def withdraw(self) -> None:
        """Give up all that was sent."""
        if self.used:
            self._shared.give_up(self)
        with contextlib.suppress(Empty):
            while True:
                self.arrived.get_nowait()
        self.used = 0

    def close(self) -> None:
        """Leave the line."""
        self._shared.leave(self)
