"""Work in other threads that the main thread can wait for, and stop waiting for when a signal comes.

A process that exits does not wait for these threads.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, Generic, ParamSpec, TypeVar

from tasks.lib import signals

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Background(Generic[Result]):
    """Does `work` in a thread; `wait` returns its result or raises its exception."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._error: BaseException | None = None
        # The main thread cannot wait for the end of a thread and for signals at once.
        self._ended = signals.Event()
        Thread(target=self._run, daemon=True).start()

    def wait(self) -> Result:
        """Wait for the end of the work and return its result.

        Raises what the work raised, or KeyboardInterrupt where a signal came first.
        """
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._result

    def is_done(self, seconds: float | None = None) -> bool:
        """Wait at most `seconds` for the end of the work; returns whether it has ended."""
        return self._ended.wait(seconds)

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()


def call(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Call a function that blocks, such as an HTTP client's, in another thread if this is the main thread.

    Raises KeyboardInterrupt where a signal came; the call goes on and its result is ignored.
    """
    if not signals.in_main_thread():
        return function(*args, **kwargs)
    return Background(partial(function, *args, **kwargs)).wait()


def side_by_side(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    at_once: int,
    stop: Callable[[], None] | None = None,
) -> list[Result]:
    """What `function` returns for each item, in their order, with at most `at_once` calls at a time.

    After an exception or a signal no further call begins.  Running calls are waited for, after a signal
    only if `stop` is given, which ends them.
    """
    waiting = deque(enumerate(items))
    results: dict[int, Result] = {}

    def work() -> None:
        while taken := _next(waiting):
            try:
                results[taken[0]] = function(taken[1])
            except BaseException:
                waiting.clear()
                raise

    workers = [Background(work) for _ in range(min(at_once, len(waiting)))]
    try:
        _await(workers)
    except KeyboardInterrupt:
        waiting.clear()
        if stop:
            stop()
            _await(workers)
        raise
    for worker in workers:
        worker.wait()
    return [results[number] for number in sorted(results)]


def _await(workers: Iterable[Background[Any]]) -> None:
    for worker in workers:
        worker.is_done()


def _next(waiting: deque[Item]) -> Item | None:
    with suppress(IndexError):
        return waiting.popleft()
    return None
