"""Work that goes on beside the main thread, and whose result or fault is there where it is waited for."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """Does `work` in a thread, which a process that ends does not wait for."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._fault: BaseException | None = None
        # Not the thread's own end: join() that a signal interrupts takes a thread for ended from then on.
        self._ended = Event()
        Thread(target=self._run, daemon=True).start()

    def wait(self) -> Result:
        """Return its result when it is done.

        Raises:
            BaseException: what the work raised.

        """
        self._ended.wait()
        if self._fault is not None:
            raise self._fault
        return self._result

    def is_done(self, seconds: float) -> bool:
        """Wait so long for its end, whatever comes of it; says whether that has come."""
        return self._ended.wait(seconds)

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as fault:
            self._fault = fault
        finally:
            self._ended.set()
