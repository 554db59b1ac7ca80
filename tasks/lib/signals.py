"""Ctrl-C, SIGTERM and SIGHUP end the program at a point where its main thread waits.

The handler only notes the signal and wakes the main thread, which raises it where it waits (`Event`, `sleep`)
or calls `check`, so that clean-up code runs as after any other exception.  Raised at any other point, a
signal could leave a lock held for ever: docs/decisions/0016-signals-where-the-program-waits.md.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from tasks.lib.errors import Failure

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A signal repeated within this many seconds counts once: `timeout` and closing terminals send it twice.
ONCE = 1.0
# A signal that comes just before a wait begins does not end it: Python calls the handler once the main thread
# goes on.  So no wait is longer than this many seconds.
LONGEST_WAIT = 1.0


class Terminated(KeyboardInterrupt):
    """A signal asked this process to end.

    Like its parent it is not an `Exception`, so code that handles errors does not catch it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _LimitReached(KeyboardInterrupt):
    """The time of a `limited` block is over; like its parent it is not an `Exception`."""


@dataclass
class _State:
    """State that only the main thread and its signal handlers use."""

    came: int = 0  # the signal to be raised
    since: dict[int, float] = field(default_factory=dict)  # when each signal came first
    held: int = 0  # the depth of nested `uninterrupted` blocks
    at_once: bool = False  # whether the program is in a `raised` block


_state = _State()
# Every wait of the main thread waits for this.  A signal handler may put into it at any moment.
_bell: "SimpleQueue[None]" = SimpleQueue()


class Event(threading.Event):
    """An event that the main thread can wait for; a signal ends the wait."""

    def set(self) -> None:
        """Set the event and wake all who wait for it."""
        super().set()
        _bell.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds until it is set; returns whether it is."""
        return until(self.is_set, timeout) if in_main_thread() else super().wait(timeout)


def until(done: Callable[[], object], seconds: float | None = None) -> bool:
    """Wait in the main thread, at most `seconds`, until `done()` is true; returns whether it is.

    `done` is called again whenever an `Event` is set.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    while not done():
        check()
        left = LONGEST_WAIT if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return False
        with suppress(Empty):
            _bell.get(timeout=min(left, LONGEST_WAIT))
            while True:  # one call of `done` covers all earlier events
                _bell.get_nowait()
    return True


def sleep(seconds: float) -> None:
    """Sleep like `time.sleep`."""
    if in_main_thread():
        until(lambda: False, seconds)
    else:
        time.sleep(seconds)


def check() -> None:
    """Raise the signal that came, in the main thread: for the head of a loop that computes for long."""
    if not _state.came or _state.held or not in_main_thread():
        return
    number, _state.came = _state.came, 0
    if number == signal.SIGALRM:
        raise _LimitReached
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def in_main_thread() -> bool:
    """Whether this is the main thread, which receives signals."""
    return threading.current_thread() is threading.main_thread()


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """The exit code by the shell's convention, 128 plus the signal: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT)


@contextmanager
def unwinding() -> Iterator[None]:
    """While inside, signals are noted and raised where the main thread waits; ignored ones stay ignored.

    The same signal a second time ends the process at once.
    """
    _forget()
    try:
        with _handled([one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN], _note):
            yield
            check()
    finally:
        _forget()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """While inside, signals wait, even a second one: for short work such as clean-up."""
    if not in_main_thread():
        yield
        return
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1


@contextmanager
def raised() -> Iterator[None]:
    """While inside, signals are raised at any point: for reading what a person types.

    Code inside must not share a lock with other threads, as the lock may stay held.
    """
    if not in_main_thread():
        yield
        return
    _state.at_once = True
    try:
        check()
        yield
    finally:
        _state.at_once = False


@contextmanager
def left_to_a_child() -> Iterator[None]:
    """While inside, Ctrl-C is only for a program in the foreground, which gets it from the terminal."""
    with _handled((signal.SIGINT,), lambda number, frame: None):
        yield


@contextmanager
def limited(seconds: float, failure: Failure) -> Iterator[None]:
    """After `seconds` inside, the main thread ends the block as a signal would, and raises `failure`."""
    with _handled((signal.SIGALRM,), _note_limit):
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        except _LimitReached as limit:
            raise failure from limit
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if _state.came == signal.SIGALRM:  # too late: the block has ended
                _state.came = 0


@contextmanager
def _handled(numbers: Sequence[int], handler: Any) -> Iterator[None]:
    """While inside, `handler` handles these signals; afterwards the previous handlers do."""
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _note(number: int, _frame: object) -> None:
    first = _state.since.setdefault(number, time.monotonic())
    if not _state.held and time.monotonic() - first > ONCE:
        _end_at_once(number)
    _state.came = number
    _wake()


def _note_limit(number: int, _frame: object) -> None:
    if not _state.since:  # a signal already ends it
        _state.came = number
        _wake()


def _wake() -> None:
    _bell.put(None)
    if _state.at_once:
        _state.at_once = False
        check()


def _end_at_once(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _forget() -> None:
    _state.came = _state.held = 0
    _state.since.clear()
