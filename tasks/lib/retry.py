"""When to ask a server again: which answers are temporary, how long to wait, and when to give up.

Only for requests that may be carried out twice.  Calls of Cloud KMS are repeated by google-api-core.
"""

import random
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import inf
from typing import Final

# HTTP statuses: overload, a server that is starting or stopping, a proxy without one.
TEMPORARY: Final = frozenset({408, 429, 500, 502, 503, 504})
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
SPREAD: Final = 0.25


class Attempts:
    """The attempts of one request.  Pauses between them double, each somewhat longer or shorter.

    Args:
        seconds: for all attempts together.
        first: the pause before the second attempt, in seconds.
        longest: the longest pause, before it is spread and what the server asks for is added.
        most: how many attempts there may be.
        spread: by which part of itself a pause may be longer or shorter; 1 where hundreds of requests are
            refused together.

    """

    def __init__(
        self,
        seconds: float = inf,
        first: float = FIRST_PAUSE,
        longest: float = LONGEST_PAUSE,
        most: float = inf,
        spread: float = SPREAD,
    ) -> None:
        self._deadline = time.monotonic() + seconds
        self._pause, self._longest, self._spread = first, longest, spread
        self._more = most - 1

    def left(self) -> float:
        """Seconds until the limit; never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def pause(self, asked: float = 0.0) -> float | None:
        """Seconds to wait before the next attempt, or None where a limit comes first.

        Args:
            asked: what the server asks for, in seconds; those whom it asked together come back one by one.

        """
        spread = random.uniform(1 - self._spread, 1 + self._spread)  # noqa: S311 - guards nothing
        pause = asked + self._pause * spread
        self._pause = min(self._pause * 2, self._longest)
        self._more -= 1
        return pause if pause < self.left() and self._more >= 0 else None


def retry_after(header: str | None) -> float:
    """The seconds that a Retry-After header asks for, as a number or as a date; 0 where it asks for none."""
    if not header:
        return 0.0
    if header.isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, until.astimezone(UTC).timestamp() - time.time())
