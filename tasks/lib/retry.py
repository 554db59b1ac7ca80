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
    """The attempts of one request: at most `most`, in `seconds` together.

    Pauses double from `first` up to `longest`.  Each may be longer or shorter by the part `spread` of itself:
    1 where hundreds of requests are refused together.
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
        """Seconds to wait, more than the server `asked` for; None where a limit comes first."""
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
