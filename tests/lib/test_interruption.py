"""Signals unwind, and each has its exit code."""

import contextlib
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import pytest

from tasks.lib.errors import TimedOut
from tasks.lib.interruption import Terminated, deferred, exit_code, limited, signals_unwind


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["TERM", "HUP"]
)
def test_a_signal_raises_in_the_main_thread_and_old_handlers_return(
    number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)

    with pytest.raises(Terminated, match=number.name) as caught, signals_unwind():
        os.kill(os.getpid(), number)

    assert exit_code(caught.value) == code
    assert signal.getsignal(number) is before


def test_ctrl_c_exits_with_130() -> None:
    assert exit_code(KeyboardInterrupt()) == 130


def test_a_block_that_takes_too_long_is_the_failure_that_was_named() -> None:
    before = signal.getsignal(signal.SIGALRM)
    late = TimedOut("It took too long.")

    def work() -> None:
        with contextlib.suppress(Exception):  # code that handles errors lets it pass
            time.sleep(60)

    with pytest.raises(TimedOut) as caught, limited(0.05, late):
        work()

    assert caught.value is late
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_block_that_ends_in_time_is_not_interrupted_later() -> None:
    with limited(60, TimedOut("It took too long.")):
        pass

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_limit_that_is_reached_before_the_block_begins_is_that_failure_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late, setitimer = TimedOut("It took too long."), signal.setitimer

    def over_at_once(which: int, seconds: float) -> None:
        setitimer(which, 0)
        if seconds:
            signal.raise_signal(signal.SIGALRM)

    monkeypatch.setattr(signal, "setitimer", over_at_once)
    with pytest.raises((TimedOut, KeyboardInterrupt)) as caught, limited(60, late):
        pytest.fail("the block began")
    assert caught.value is late


def signalled_while_importing(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have a signal come while `no_such_module` is looked for; returns where that is noted."""
    passed: list[str] = []

    class Finder:
        """Is asked by Python's import code, in whose frame the signal then comes."""

        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "no_such_module":
                handler = signal.getsignal(number)
                assert callable(handler)
                handler(number, sys._getframe(1))
                passed.append(name)

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    return passed


def test_a_limit_that_is_reached_while_something_is_imported_waits_until_that_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed = signalled_while_importing(signal.SIGALRM, monkeypatch)
    late = TimedOut("It took too long.")

    def work() -> None:
        with limited(60, late):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module("no_such_module")
            threading.Event().wait(30)

    with pytest.raises(TimedOut) as caught:
        work()
    assert caught.value is late
    assert passed == ["no_such_module"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_deferred_signal_comes_when_the_block_is_whole(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with deferred():
            os.kill(os.getpid(), number)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert done == ["whole"]
    assert exit_code(caught.value) == 128 + number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_waits_until_an_import_is_over(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = signalled_while_importing(number, monkeypatch)

    class Timer(threading.Timer):
        """Ends when the test says so, not when its time is up."""

        def start(self) -> None:
            later.append(lambda: self.function(*self.args))

    later: list[Callable[[], None]] = []
    monkeypatch.setattr(threading, "Timer", Timer)

    def work() -> None:
        with signals_unwind():
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module("no_such_module")
            passed.append("import")
            for send_again in later:
                send_again()
            threading.Event().wait(30)

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert passed == ["no_such_module", "import"]
    assert exit_code(caught.value) == 128 + number


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_unwind():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
