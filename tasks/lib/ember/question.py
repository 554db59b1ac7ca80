"""A question to the bucket while the archive is read: one needs the network, the other the disk."""

from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from tasks.lib.background import Background
from tasks.lib.ember.line import LONGEST_WAIT
from tasks.lib.ember.wire import Pool

Answer = TypeVar("Answer")
# A pool that is stopped has ended by then, or waits for a token, which nothing cuts short.
LONGEST_FOR_A_STOP = 3 * LONGEST_WAIT


class Question(Generic[Answer]):
    """A question on its way; where the block ends by an error, the pool is stopped, and asks no more.

    Args:
        pool: what `ask` sends its requests with; nobody else uses it until the answer is there.
        ask: asks, and returns the answer.

    """

    def __init__(self, pool: Pool, ask: Callable[[], Answer]) -> None:
        self._pool = pool
        self._work = Background(ask)

    def __enter__(self) -> Self:
        """It is asked already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """End it, where it is not waited for any more: an interruption would wait for an answer otherwise."""
        if kind is not None:
            self._pool.stop()
            self._work.is_done(LONGEST_FOR_A_STOP)

    def wait(self) -> Answer:
        """The answer.

        Raises:
            BaseException: what asking raised.

        """
        return self._work.wait()
