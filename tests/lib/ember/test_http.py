"""The pool: what runs beside what, and what ends it."""

import io
from collections.abc import Iterator
from contextlib import closing
from typing import IO, cast

import pytest

from tasks.lib.ember.access import Access
from tasks.lib.ember.http import Job, Pause, Pool, Request, Response, Steps, Stream


@pytest.fixture
def pool(access: Access) -> Iterator[Pool]:
    with closing(Pool(access, 3)) as made:
        yield made


def asking(access: Access, log: list[str], name: str, times: int = 1) -> Steps[None]:
    log.append(f"{name} began")
    for _ in range(times):
        response = yield Request("GET", access.objects_url())
        assert response is not None
        assert response.status == 200
        yield Pause(0.001)
    log.append(f"{name} ended")


def test_jobs_run_in_parallel_up_to_the_connection_limit(access: Access, pool: Pool) -> None:
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


def test_job_error_ends_the_others_but_not_the_pool(access: Access, pool: Pool) -> None:
    closed: list[str] = []

    def patient() -> Steps[None]:
        try:
            while True:
                yield Request("GET", access.objects_url())
        finally:
            closed.append("patient")

    def failing() -> Steps[None]:
        yield Request("GET", access.objects_url())
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        pool.run([Job(patient()), Job(failing())])
    assert closed == ["patient"]
    log: list[str] = []
    pool.run([Job(asking(access, log, "next"))])
    assert log == ["next began", "next ended"]


def test_unmakeable_request_ends_its_own_job(access: Access, pool: Pool) -> None:
    closed: list[str] = []

    def unreadable() -> IO[bytes]:
        raise ValueError("mine")

    def steps() -> Steps[None]:
        try:
            yield Request("PUT", access.object_url("x"), (), Stream(unreadable, 10))
        finally:
            closed.append("it")

    job = Job(steps())
    with pytest.raises(ValueError, match="mine"):
        pool.run([job])
    assert closed == ["it"]


def test_results_come_in_the_order_of_the_jobs(access: Access, pool: Pool) -> None:
    def after(seconds: float) -> Steps[float]:
        yield Pause(seconds)
        yield Request("GET", access.objects_url())
        return seconds

    assert pool.run(Job(after(seconds)) for seconds in (0.02, 0.0, 0.01)) == [0.02, 0.0, 0.01]
    assert pool.ask(after(0.0)) == 0.0


def test_an_answer_to_head_waits_for_no_body(access: Access, pool: Pool) -> None:
    answers: list[Response | None] = []

    def steps() -> Steps[None]:
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

    def steps() -> Steps[None]:
        yield Request("PUT", access.object_url("x"), (), Stream(lambda: cast("IO[bytes]", Interrupted()), 10))

    with pytest.raises(KeyboardInterrupt):
        pool.run([Job(steps())])


def test_a_header_is_found_whatever_its_case() -> None:
    answer = Response(200, b"", [b"HTTP/1.1 200 OK\r\n", b"Retry-After: 7\r\n"])
    assert (answer.header("retry-after"), answer.header("range")) == ("7", "")
