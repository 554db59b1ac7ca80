"""One workload that is waited for, and since when each of its troubles lasts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.rollout.failure_rules import Trouble


@dataclass
class Target:
    """One workload that is waited for.

    Args:
        ref: its name.
        uid: of the very object that was applied, so that one of the same name is not taken for it.
        generation: the one that the apply made: an older state that arrives late is not judged.
        since: when this deploy wrote it, by the server's clock; empty where it did not.
        makes_way: it is an earlier run of a Job: any end will do, for another run takes its place.
        said: what was last told about it.
        trouble_since: when each present trouble was first seen.

    """

    ref: Ref
    uid: str
    generation: int
    since: str = ""
    makes_way: bool = False
    said: str = ""
    trouble_since: dict[tuple[str, ...], float] = field(default_factory=dict)

    @property
    def is_earlier_run(self) -> bool:
        """Whether it is a Job that an earlier deploy started."""
        return self.ref.is_job and not self.since

    def told(self, reason: str) -> str:
        """Why it is waited for, with whose run it is."""
        if self.makes_way:
            return f"waiting for the end of the run before: {reason}"
        return f"the run of an earlier deploy: {reason}" if self.is_earlier_run else reason

    def note(self, present: Sequence[Trouble]) -> None:
        """Remember since when each present trouble lasts, and forget those that passed."""
        now = time.monotonic()
        self.trouble_since = {t.key: self.trouble_since.get(t.key, now) for t in present}

    def lasts(self, trouble: Trouble) -> float:
        """For how many seconds a present trouble has been there."""
        return time.monotonic() - self.trouble_since[trouble.key]
