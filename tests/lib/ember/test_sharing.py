"""One line for several pools: who comes next, who disturbs whom, and what an end means for all."""

import dataclasses
import io
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO, Any, cast

import pytest

from tasks.lib.background import Background
from tasks.lib.ember.access import Access
from tasks.lib.ember.line import Ended
from tasks.lib.ember.sharing import Shared, Woken
from tasks.lib.ember.wire import Job, Pause, Pool, Request, Steps, Stream

LIMIT = 60.0


@pytest.fixture
def shared() -> Iterator[Shared]:
    with Shared(Woken(3)) as made:
        yield made


@pytest.fixture
def silent(access: Access) -> Iterator[Access]:
    """The way to a server that takes requests and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield dataclasses.replace(access, endpoint=address, attempt_limit=LIMIT)


def asking(access: Access, times: int = 1) -> Steps:
    for _ in range(times):
        response = yield Request("GET", access.objects_url())
        assert response is not None
        assert response.status == 200


def running(access: Access, shared: Shared, jobs: Callable[[], Iterator[Job]]) -> Background[Pool]:
    """A pool that runs jobs on a thread of its own."""

    def run() -> Pool:
        with closing(Pool(access, shared.lane())) as pool:
            pool.run(jobs())
        return pool

    return Background(run)


def test_all_pools_together_make_no_more_connections_than_the_line_has(
    access: Access, shared: Shared
) -> None:
    def jobs() -> Iterator[Job]:
        return (Job(asking(access, 5)) for _ in range(10))

    pools = [one.wait() for one in [running(access, shared, jobs) for _ in range(4)]]
    assert [pool.traffic.requests for pool in pools] == [50] * 4
    assert sum(pool.traffic.connections for pool in pools) == 3


def test_a_pool_that_is_alone_has_the_whole_line_and_others_have_their_share(shared: Shared) -> None:
    first, second, third, fourth = (shared.lane() for _ in range(4))
    first.used = 3
    assert first.room == 3
    second.used = 1
    assert (first.room, second.room) == (1, 1)
    third.used = fourth.used = 1
    assert fourth.room == 1
    first.close()
    second.used = third.used = 0
    assert fourth.room == 3


def test_a_pool_comes_in_its_turn_while_others_have_ever_more_to_send(access: Access) -> None:
    served = threading.Event()

    def greedy() -> Steps:
        while not served.is_set():
            yield from asking(access)

    with Shared(Woken(1)) as shared:
        busy = [running(access, shared, lambda: iter([Job(greedy())])) for _ in range(3)]
        modest = running(access, shared, lambda: iter([Job(asking(access, 5))]))
        try:
            assert modest.wait().traffic.requests == 5
        finally:
            served.set()
        for one in busy:
            one.wait()


class Noting(Woken):
    """Notes what it is to send; each has its answer as soon as there may be answers."""

    def __init__(self, connections: int) -> None:
        super().__init__(connections)
        self.order: list[str] = []
        self.answering = threading.Event()
        self._asked: list[str] = []

    def send(self, handle: str) -> None:
        self.order.append(handle)
        self._asked.append(handle)

    def finished(self, seconds: float) -> list[tuple[str, str]]:
        if not self._asked:
            return super().finished(seconds)
        self.answering.wait()
        asked, self._asked = self._asked, []
        return [(handle, "") for handle in asked]


def test_who_has_waited_longest_comes_next_where_all_have_as_many_on_their_way() -> None:
    line = Noting(1)
    with Shared(line) as shared:
        lanes = [shared.lane() for _ in "abc"]
        for lane, name in zip(lanes, "abc", strict=True):
            for number in range(3):
                lane.send(f"{name}{number}")
        line.answering.set()
        for lane in lanes:
            arrived = 0
            while arrived < 3:
                arrived += len(lane.finished(1.0))
    assert line.order == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_an_error_withdraws_the_requests_of_its_own_pool_only(access: Access, silent: Access) -> None:
    failed = threading.Event()

    def failing() -> Steps:
        yield Pause(0.001)
        raise ValueError("mine")

    def waiting_for_it() -> Steps:
        while not failed.is_set():
            yield from asking(access)

    # More are waiting for an answer than the line has room for.
    stuck = [Job(unanswered(silent)) for _ in range(3)]
    with Shared(Woken(2)) as shared:
        other = running(access, shared, lambda: iter([Job(waiting_for_it())]))
        with closing(Pool(silent, shared.lane())) as pool:
            with pytest.raises(ValueError, match="mine"):
                pool.run([Job(failing()), *stuck])
            failed.set()
            other.wait()
            # Its places are free again, and no answer of before is left over.
            again = Pool(access, shared.lane())
            again.run(Job(asking(access, 2)) for _ in range(4))
            assert again.traffic.requests == 8


def unanswered(silent: Access) -> Steps:
    yield Request("GET", silent.objects_url())
    pytest.fail("there was an answer")


def test_no_body_is_read_once_its_pool_has_given_up(silent: Access, shared: Shared) -> None:
    begun = threading.Event()
    closed = threading.Event()

    class Body(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            assert not closed.is_set()
            begun.set()
            return b"x"

    def sending() -> Steps:
        yield Request("PUT", silent.object_url("x"), (), Stream(lambda: cast("IO[bytes]", Body()), 1 << 40))

    def failing() -> Steps:
        while not begun.is_set():
            yield Pause(0.001)
        raise ValueError("mine")

    with closing(Pool(silent, shared.lane())) as pool:
        with pytest.raises(ValueError, match="mine"):
            pool.run([Job(sending()), Job(failing())])
        closed.set()


def test_what_reading_a_body_raises_ends_its_own_pool(access: Access, shared: Shared) -> None:
    class Broken(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            raise OSError("the disk is gone")

    def steps() -> Steps:
        yield Request("PUT", access.object_url("x"), (), Stream(lambda: cast("IO[bytes]", Broken()), 10))

    with closing(Pool(access, shared.lane())) as pool, pytest.raises(OSError, match="the disk is gone"):
        pool.run([Job(steps())])
    running(access, shared, lambda: iter([Job(asking(access))])).wait()


def test_the_end_of_a_line_ends_every_pool_whatever_it_waits_for(silent: Access) -> None:
    def pausing() -> Steps:
        yield Pause(LIMIT)

    with Shared(Woken(2)) as shared:
        pools = [
            running(silent, shared, lambda: iter([Job(unanswered(silent)) for _ in range(5)])),
            running(silent, shared, lambda: iter([Job(unanswered(silent))])),
            running(silent, shared, lambda: iter([Job(pausing())])),
        ]
    for pool in [*pools, running(silent, shared, lambda: iter([Job(asking(silent))]))]:
        with pytest.raises(Ended):
            pool.wait()


def test_a_handle_that_is_taken_while_the_line_closes_is_nobodys_fault() -> None:
    class Contested(list[Any]):
        """Another thread takes the last one between a look and the next line."""

        def __bool__(self) -> bool:
            return True

    line = Woken(1)
    line._idle = Contested()
    line.close()
    assert line._bell.fileno() == -1


def test_a_line_wakes_beside_a_thousand_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that select() does not take."""
    monkeypatch.setattr("tasks.lib.ember.line.LONGEST_WAIT", LIMIT)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 1200:
        pytest.skip("this machine does not let a process have so many")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1200, before[1]))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        with closing(Woken(1)) as woken:
            woken.wake()
            began = time.monotonic()
            woken.finished(LIMIT)
            assert time.monotonic() - began < LIMIT
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_fault_of_the_line_itself_ends_every_pool_and_is_told(
    silent: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_handle: object) -> None:
        raise MemoryError

    shared = Shared(Woken(2))
    monkeypatch.setattr(shared.line, "send", broken)
    with pytest.raises(Ended):
        running(silent, shared, lambda: iter([Job(unanswered(silent))])).wait()
    with pytest.raises(MemoryError):
        shared.__exit__(None, None, None)


def test_a_line_that_cannot_even_be_withdrawn_keeps_no_pool_waiting(
    silent: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    shared = Shared(Woken(2))
    pool = running(silent, shared, lambda: iter([Job(unanswered(silent))]))
    while not shared._carried:
        time.sleep(0.01)
    monkeypatch.setattr(shared.line, "withdraw", broken)
    with pytest.raises(MemoryError):
        shared.__exit__(None, None, None)
    with pytest.raises(Ended):
        pool.wait()
