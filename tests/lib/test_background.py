"""Work beside the main thread: done when waited for, and its fault raised there."""

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
