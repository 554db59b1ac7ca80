"""Being told to stop: SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that clean-up code runs."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tasks.lib.errors import Failure

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
ALL_SIGNALS = (signal.SIGINT, *SIGNALS)
IMPORTING = "<frozen importlib."  # the file name of its code
SOON = 0.005  # seconds


class Terminated(KeyboardInterrupt):
    """A signal asked this process to end.

    Like its parent it is no `Exception`: code that handles errors lets it pass.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """The shell's convention, 128 plus the signal's number: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT)


@contextmanager
def signals_unwind() -> Iterator[None]:
    """While inside, SIGTERM and SIGHUP raise `Terminated` in the main thread, and Ctrl-C as ever."""
    heard = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # a shell has it ignored in the background
    with _handled(ALL_SIGNALS if heard else SIGNALS, _raise):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """While inside, a further signal is left aside: for clean-up that is short and must be whole.

    Outside the main thread, which alone receives signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled(ALL_SIGNALS, signal.SIG_IGN):
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """While inside, a signal waits: for starting something and noting that it was started.

    Outside the main thread, which alone receives signals, this does nothing.

    Raises:
        KeyboardInterrupt: a signal came; raised at the end.

    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    with _handled(ALL_SIGNALS, lambda number, _: came.append(number)):
        yield
    if came:
        raise KeyboardInterrupt if came[0] == signal.SIGINT else Terminated(came[0])


class _LimitReached(KeyboardInterrupt):
    """The time of a `limited` block is up; like its parent it is no `Exception`."""


@contextmanager
def limited(seconds: float, failure: Failure) -> Iterator[None]:
    """While inside, the main thread is interrupted after `seconds`; outside, that becomes `failure`.

    Raises:
        Failure: `failure`, when the time is up.

    """
    with _handled((signal.SIGALRM,), _ring):
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        except _LimitReached as limit:
            raise failure from limit
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one that comes now comes too late
            signal.setitimer(signal.ITIMER_REAL, 0)


def _ring(_number: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        signal.setitimer(signal.ITIMER_REAL, SOON)
        return
    raise _LimitReached


@contextmanager
def _handled(numbers: Sequence[int], handler: Any) -> Iterator[None]:
    """While inside, `handler` takes these signals; afterwards whoever took them before does."""
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _raise(number: int, frame: FrameType | None) -> None:
    """Raise what `number` stands for; a moment later where Python's importing is just at work."""
    if _is_importing(frame):
        again = threading.Timer(SOON, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether Python's importing is at work, which nothing may interrupt.

    It keeps its locks in Python code: raised between two lines of that, an exception is lost, or leaves the
    lock held for ever, and then every thread that imports something waits for it.
    """
    return frame is not None and frame.f_code.co_filename.startswith(IMPORTING)
