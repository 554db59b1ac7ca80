"""The pool: what runs beside what, and what ends it."""

import io
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any, cast

import pytest

from tasks.lib.ember.access import Access
from tasks.lib.ember.line import Ended, Line
from tasks.lib.ember.wire import Job, Pause, Pool, Request, Response, Steps, Stream


@pytest.fixture
def pool(access: Access) -> Iterator[Pool]:
    with closing(Pool(access, Line(3))) as made:
        yield made


class Together(Line):
    """Tells of answers only once all are there."""

    def __init__(self, connections: int) -> None:
        super().__init__(connections)
        self._there: list[tuple[Any, str]] = []

    def finished(self, seconds: float) -> list[tuple[Any, str]]:
        self._there.extend(super().finished(seconds))
        if self._sent:
            return []
        there, self._there = self._there, []
        return there


def asking(access: Access, log: list[str], name: str, times: int = 1) -> Steps:
    log.append(f"{name} began")
    for _ in range(times):
        response = yield Request("GET", access.objects_url())
        assert response is not None
        assert response.status == 200
        yield Pause(0.001)
    log.append(f"{name} ended")


def test_jobs_run_side_by_side_up_to_the_number_of_connections(access: Access, pool: Pool) -> None:
    log: list[str] = []
    pool.run(Job(asking(access, log, str(number), 3)) for number in range(9))
    assert log[:3] == ["0 began", "1 began", "2 began"]
    assert sum(line.endswith("ended") for line in log) == 9
    most = 0
    running = 0
    for line in log:
        running += 1 if line.endswith("began") else -1
        most = max(most, running)
    assert most == 3
    assert (pool.traffic.requests, pool.traffic.connections) == (27, 3)


def test_nothing_starts_beside_a_job_that_is_alone(access: Access, pool: Pool) -> None:
    log: list[str] = []
    pool.run([Job(asking(access, log, "alone", 3), alone=True), Job(asking(access, log, "after"))])
    assert log == ["alone began", "alone ended", "after began", "after ended"]


def test_jobs_that_hold_much_memory_wait_for_one_another(access: Access, pool: Pool) -> None:
    log: list[str] = []
    pool.run(Job(asking(access, log, str(number), 2), held=40 << 20) for number in range(2))
    assert log == ["0 began", "0 ended", "1 began", "1 ended"]


def test_how_much_memory_jobs_may_hold_is_the_pools_own_matter(access: Access) -> None:
    log: list[str] = []
    with closing(Pool(access, Line(3), most_held=10)) as pool:
        pool.run(Job(asking(access, log, str(number)), held=5) for number in range(4))
    assert log[:3] == ["0 began", "1 began", "0 ended"] or log[:3] == ["0 began", "1 began", "1 ended"]


def test_an_error_in_a_job_ends_the_others_and_the_pool_serves_again(access: Access, pool: Pool) -> None:
    closed: list[str] = []

    def patient() -> Steps:
        try:
            while True:
                yield Request("GET", access.objects_url())
        finally:
            closed.append("patient")

    def failing() -> Steps:
        yield Request("GET", access.objects_url())
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        pool.run([Job(patient()), Job(failing())])
    assert closed == ["patient"]
    log: list[str] = []
    pool.run([Job(asking(access, log, "next"))])
    assert log == ["next began", "next ended"]


def test_a_request_that_cannot_be_made_ends_its_own_job_too(access: Access, pool: Pool) -> None:
    closed: list[str] = []

    def unreadable() -> IO[bytes]:
        raise ValueError("mine")

    def steps() -> Steps:
        try:
            yield Request("PUT", access.object_url("x"), (), Stream(unreadable, 10))
        finally:
            closed.append("it")

    job = Job(steps())
    with pytest.raises(ValueError, match="mine"):
        pool.run([job])
    assert closed == ["it"]


def test_a_pool_that_was_stopped_runs_nothing_and_does_not_say_that_it_did(
    access: Access, pool: Pool
) -> None:
    def stopping() -> Steps:
        yield Request("GET", access.objects_url())
        pool.stop()
        yield Request("GET", access.objects_url())
        pytest.fail("it went on")

    for _ in range(2):
        with pytest.raises(Ended):
            pool.run([Job(stopping())])


def test_an_error_leaves_aside_what_was_answered_at_the_same_time(access: Access) -> None:
    """One of several answers that came together ends the run: the others are on no line any more."""

    def failing() -> Steps:
        yield Request("GET", access.objects_url())
        raise ValueError("mine")

    with closing(Pool(access, Together(3))) as pool:
        with pytest.raises(ValueError, match="mine"):
            pool.run(Job(failing()) for _ in range(3))
        log: list[str] = []
        pool.run(Job(asking(access, log, "next")) for _ in range(3))
        assert log.count("next ended") == 3


def test_an_answer_to_head_waits_for_no_body(access: Access, pool: Pool) -> None:
    answers: list[Response | None] = []

    def steps() -> Steps:
        url = f"{access.upload_url()}?uploadType=media&name=x"
        yield Request("POST", url, (), b"0123456789")
        answers.append((yield Request("HEAD", access.public_url("x"), public=True)))

    pool.run([Job(steps())])
    [answer] = answers
    assert answer is not None
    assert (answer.status, answer.body, answer.header("content-length")) == (200, b"", "10")


def test_an_interruption_while_a_body_is_read_is_not_lost(access: Access, pool: Pool) -> None:
    class Interrupted(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            raise KeyboardInterrupt

    def steps() -> Steps:
        yield Request("PUT", access.object_url("x"), (), Stream(lambda: cast("IO[bytes]", Interrupted()), 10))

    with pytest.raises(KeyboardInterrupt):
        pool.run([Job(steps())])


def test_a_header_is_found_whatever_its_case() -> None:
    answer = Response(200, b"", [b"HTTP/1.1 200 OK\r\n", b"Retry-After: 7\r\n"])
    assert (answer.header("retry-after"), answer.header("range")) == ("7", "")
