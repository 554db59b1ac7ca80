"""Work that goes on beside the main thread, and whose fault is raised where it is waited for."""

from collections.abc import Callable
from threading import Thread


class Background:
    """Does `work` in a thread, which a process that ends does not wait for."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._fault: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when it is done.

        Raises:
            BaseException: what the work raised.

        """
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as fault:
            self._fault = fault
