"""Work beside the main thread: done when waited for, and its fault raised there."""

import os
import signal
import threading

import pytest

from tasks.lib.background import Background


def test_it_goes_on_beside_the_caller_and_is_done_when_waited_for() -> None:
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


def test_its_fault_is_raised_where_it_is_waited_for() -> None:
    def work() -> None:
        raise LookupError("nothing there")

    working = Background(work)

    with pytest.raises(LookupError, match="nothing there"):
        working.wait()


def test_who_waits_for_so_long_only_is_told_whether_it_was_done() -> None:
    may_end = threading.Event()
    working = Background(may_end.wait)
    assert not working.is_done(0.01)
    may_end.set()
    assert working.is_done(120)


def test_whoever_is_interrupted_while_waiting_can_wait_on() -> None:
    may_end = threading.Event()
    working = Background(may_end.wait)

    def interrupted() -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        working.wait()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not working.is_done(0.01)
    may_end.set()
    assert working.wait()
