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


class Attempts:
    """The attempts of one request.  Pauses between them double, each by up to a quarter longer or shorter.

    Args:
        seconds: for all attempts together.
        first: the pause before the second attempt, in seconds.
        longest: the pause that no other exceeds, but for one that the server asks for.
        most: how many attempts there may be.

    """

    def __init__(
        self,
        seconds: float = inf,
        first: float = FIRST_PAUSE,
        longest: float = LONGEST_PAUSE,
        most: float = inf,
    ) -> None:
        self._deadline = time.monotonic() + seconds
        self._pause, self._longest = first, longest
        self._more = most - 1

    def left(self) -> float:
        """Seconds until the limit; never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def pause(self, asked: float = 0.0) -> float | None:
        """Seconds to wait before the next attempt, or None where a limit comes first.

        Args:
            asked: what the server asks for, in seconds.

        """
        spread = random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing
        pause = max(self._pause * spread, asked)
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
