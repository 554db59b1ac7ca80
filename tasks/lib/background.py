"""Work that goes on beside the main thread, and whose result or fault is there where it is waited for."""

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """Does `work` in a thread, which a process that ends does not wait for."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._fault: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> Result:
        """Return its result when it is done.

        Raises:
            BaseException: what the work raised.

        """
        self._thread.join()
        if self._fault is not None:
            raise self._fault
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as fault:
            self._fault = fault
