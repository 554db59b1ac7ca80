"""Work beside the main thread: done when waited for, and its fault raised there."""

import os
import signal
import threading

import pytest

from tasks.lib.background import Background, call, side_by_side
from tasks.lib.signals import unwinding


def test_work_runs_in_the_background_until_waited_for() -> None:
    may_end, done = threading.Event(), threading.Event()

    def work() -> str:
        assert may_end.wait(120)
        done.set()
        return "result"

    working = Background(work)
    assert not done.is_set()
    may_end.set()
    assert working.wait() == "result"
    assert done.is_set()


def test_an_error_of_the_work_is_raised_by_wait() -> None:
    def work() -> None:
        raise LookupError("nothing there")

    working = Background(work)

    with pytest.raises(LookupError, match="nothing there"):
        working.wait()


def test_a_limited_wait_returns_whether_the_work_has_ended() -> None:
    may_end = threading.Event()
    working = Background(may_end.wait)
    assert not working.is_done(0.01)
    may_end.set()
    assert working.is_done(120)


def test_an_interrupted_wait_can_be_repeated() -> None:
    may_end = threading.Event()
    working = Background(may_end.wait)

    def interrupted() -> None:
        with unwinding():
            os.kill(os.getpid(), signal.SIGINT)
            working.wait()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not working.is_done(0)
    may_end.set()
    assert working.wait()


def test_a_call_runs_outside_the_main_thread() -> None:
    def elsewhere() -> threading.Thread:
        return call(threading.current_thread)

    assert elsewhere() is not threading.main_thread()
    both = Background(lambda: (threading.current_thread(), elsewhere())).wait()
    assert both[0] is both[1]


def test_results_come_in_the_order_of_the_items() -> None:
    """The first call returns only once the second has."""
    second = threading.Event()

    def work(number: int) -> int:
        second.wait(120) if number == 1 else second.set()
        return number * 10

    assert side_by_side(work, [1, 2, 3], at_once=2) == [10, 20, 30]
    assert side_by_side(work, [], at_once=2) == []


def test_no_call_starts_after_the_first_error() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        raise LookupError(number)

    with pytest.raises(LookupError):
        side_by_side(work, range(10), at_once=1)
    assert begun == [0]


def test_an_interrupt_stops_running_calls_and_waits_for_them() -> None:
    stopped, ended = threading.Event(), []

    def work(number: int) -> None:
        stopped.wait(120)
        ended.append(number)

    def interrupted() -> None:
        with unwinding():
            os.kill(os.getpid(), signal.SIGTERM)
            side_by_side(work, range(10), at_once=2, stop=stopped.set)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stopped.is_set()
    assert len(ended) <= 2
