"""Signals are noted anywhere, and raised where the main thread waits."""

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import pytest

from tasks.lib import signals
from tasks.lib.background import Background, call, side_by_side
from tasks.lib.errors import TimedOut
from tasks.lib.signals import Event, Terminated, check, exit_code, limited, raised, uninterrupted, unwinding
from tests.missed_signal import missed

ENDING = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
NEVER = threading.Event()


def send(number: int) -> None:
    os.kill(os.getpid(), number)


class Bell:
    """The main thread's bell; a signal comes just when it begins to listen."""

    def __init__(self, number: int) -> None:
        self._number, self._queue = number, SimpleQueue[None]()

    def get(self, timeout: float) -> None:
        if self._number:
            number, self._number = self._number, 0
            send(number)
        self._queue.get(timeout=timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
@pytest.mark.parametrize(
    "wait",
    [
        lambda: signals.sleep(600),
        lambda: Event().wait(),
        lambda: Background(NEVER.wait).wait(),
        lambda: call(NEVER.wait),
        lambda: side_by_side(lambda _: NEVER.wait(), range(4), at_once=2),
    ],
    ids=["sleep", "event", "background", "call", "side by side"],
)
def test_a_signal_ends_every_kind_of_wait(
    monkeypatch: pytest.MonkeyPatch, wait: Callable[[], object], number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(signals, "_bell", Bell(number))

    with pytest.raises(KeyboardInterrupt) as caught, unwinding():
        wait()

    assert exit_code(caught.value) == 128 + number
    assert isinstance(caught.value, Terminated) == (number != signal.SIGINT)
    assert signal.getsignal(number) is before


def test_a_signal_just_before_the_wait_ends_it() -> None:
    with pytest.raises(Terminated), unwinding(), missed(signal.SIGTERM):
        signals.until(lambda: False, seconds=60)


def test_the_program_continues_until_it_waits_or_checks() -> None:
    done = []

    def work() -> None:
        with unwinding():
            send(signal.SIGTERM)
            done.append("went on")
            check()
            done.append("did not")

    with pytest.raises(Terminated):
        work()
    assert done == ["went on"]


class Lock:
    """A lock in Python code, as coverage's and urllib3's: a signal comes when it has just been taken."""

    def __init__(self) -> None:
        self.inner = threading.Lock()

    def __enter__(self) -> None:
        self.inner.acquire()
        send(signal.SIGTERM)

    def __exit__(self, *_: object) -> None:
        self.inner.release()


def test_a_signal_leaves_no_lock_held() -> None:
    lock = Lock()

    def work() -> None:
        with unwinding():
            with lock:
                pass
            check()

    with pytest.raises(Terminated):
        work()
    assert not lock.inner.locked()


def test_a_signal_at_the_very_end_is_not_lost() -> None:
    with pytest.raises(Terminated), unwinding():
        send(signal.SIGTERM)


def test_an_import_finishes_after_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        """Is asked by Python's import code, which holds its locks then."""

        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "no_such_module":
                send(signal.SIGTERM)

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])

    def work() -> None:
        with unwinding():
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module("no_such_module")
            signals.sleep(600)

    with pytest.raises(Terminated):
        work()


def test_error_handlers_do_not_catch_signals() -> None:
    def work() -> None:
        with unwinding(), suppress(Exception):
            send(signal.SIGTERM)
            check()

    with pytest.raises(Terminated):
        work()


def test_clean_up_is_not_interrupted_by_a_raised_signal() -> None:
    steps = []

    def work() -> None:
        with unwinding():
            try:
                send(signal.SIGTERM)
                check()
            finally:
                steps.append(Background(lambda: "cleaned up").wait())

    with pytest.raises(Terminated):
        work()
    assert steps == ["cleaned up"]


def test_a_signal_sent_twice_at_once_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "ONCE", 3600.0)

    def work() -> None:
        with unwinding():
            send(signal.SIGTERM)
            send(signal.SIGTERM)

    with pytest.raises(Terminated):
        work()


def ended_by_a_second(block: str) -> int:
    """The exit code of a program that is told twice, in this block, and would go on for ever."""
    program = f"""if True:
        import os, signal
        from tasks.lib import signals
        signals.ONCE = -1.0
        with signals.unwinding(), {block}:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        print("not at once")
    """
    return subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode


def test_a_second_signal_ends_the_process_at_once() -> None:
    assert ended_by_a_second("signals.limited(600, None)") == -signal.SIGTERM


def test_a_second_signal_lets_short_clean_up_finish() -> None:
    assert ended_by_a_second("signals.uninterrupted()") == 1


def test_no_signal_is_raised_in_an_uninterrupted_block() -> None:
    done = []

    def work() -> None:
        with unwinding():
            with uninterrupted():
                send(signal.SIGTERM)
                done.append(call(lambda: "waited"))
                check()
                done.append("whole")
            check()
            done.append("too far")

    with pytest.raises(Terminated):
        work()
    assert done == ["waited", "whole"]


def test_a_signal_is_raised_during_a_prompt() -> None:
    def work() -> None:
        with unwinding(), raised():
            send(signal.SIGTERM)
            pytest.fail("it went on")

    with pytest.raises(Terminated):
        work()


def test_a_signal_before_a_prompt_is_raised() -> None:
    def work() -> None:
        with unwinding():
            send(signal.SIGTERM)
            with raised():
                pytest.fail("it asked")

    with pytest.raises(Terminated):
        work()


def test_other_threads_do_not_receive_signals() -> None:
    def elsewhere() -> str:
        check()
        signals.sleep(0)
        return call(lambda: "done")

    def work() -> None:
        with unwinding():
            send(signal.SIGTERM)
            with uninterrupted():
                assert Background(elsewhere).wait() == "done"
            check()

    with pytest.raises(Terminated):
        work()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "hang-up"])
def test_an_ignored_signal_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with unwinding():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_wait_ends_with_the_time_or_the_event() -> None:
    event = Event()
    assert not event.wait(0.01)
    event.set()
    assert event.wait(0)
    assert event.wait()


def test_a_block_that_takes_too_long_raises_its_failure() -> None:
    before = signal.getsignal(signal.SIGALRM)
    late = TimedOut("It took too long.")

    def work() -> None:
        with suppress(Exception):  # code that handles errors lets it pass
            signals.sleep(600)

    with pytest.raises(TimedOut) as caught, limited(0.01, late):
        work()

    assert caught.value is late
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_limit_also_ends_a_read() -> None:
    late = TimedOut("It took too long.")
    reader, writer = os.pipe()
    with pytest.raises(TimedOut) as caught, limited(0.01, late), raised():
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    assert caught.value is late


def test_a_block_that_ends_in_time_is_not_interrupted_later() -> None:
    with limited(600, TimedOut("It took too long.")):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_limit_reached_after_the_work_is_ignored() -> None:
    with limited(600, TimedOut("It took too long.")):
        signal.raise_signal(signal.SIGALRM)
    check()


def test_a_signal_cancels_the_limit() -> None:
    def work() -> None:
        with unwinding(), limited(600, TimedOut("It took too long.")):
            try:
                send(signal.SIGTERM)
                check()
            finally:
                signal.raise_signal(signal.SIGALRM)
                call(lambda: "clean up")

    with pytest.raises(Terminated):
        work()
