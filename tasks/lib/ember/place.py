"""One app's place in a bucket, and what can be done with the revisions there."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from tasks.lib.ember import activation, pruning, revision, revisions
from tasks.lib.ember.access import Access
from tasks.lib.ember.activation import Active
from tasks.lib.ember.line import Line
from tasks.lib.ember.names import checked_prefix
from tasks.lib.ember.remote import ABSENT
from tasks.lib.ember.revision import Revision
from tasks.lib.ember.survey import INDEX
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.ember import Cors

LEFT = "what an ended upload or pruning left"


class Place:
    """The revisions at one prefix.

    Args:
        access: the bucket.
        prefix: where, for example experiments/<uuid>.
        connections: how many requests may be on their way at once.

    Raises:
        UsageError: the prefix cannot be used.

    """

    def __init__(self, access: Access, prefix: str, connections: int) -> None:
        self._access = access
        self._prefix = checked_prefix(prefix)
        self._pool = Pool(access, Line(connections))
        self.url = access.public_url(self._prefix + INDEX)

    def __enter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._pool.close()

    def listed(self) -> list[Revision]:
        """The complete revisions, newest first."""
        return revisions.listed(self._pool, self._access, self._prefix).complete

    def active(self) -> Active:
        """What is served now."""
        return activation.active(self._pool, self._access, self._prefix)

    def activate(self, asked: str) -> str:
        """Serve the revision that `asked` names or begins; says what was done."""
        name = revisions.known(self.listed(), asked)
        now = self.active()
        if self._is_served(name, now):
            return f"Revision {name} is active already."
        self._serve(name, revision.activated(now.history, name), now)
        if now.name == name:
            return f"Revision {name} is active; its page was written anew."
        return f"Revision {name} is active. Before: {now.name or 'none'}."

    def _is_served(self, name: str, now: Active) -> bool:
        is_active = now.name == name and now.as_written
        return is_active and activation.is_as_activated(self._pool, self._access, self._prefix, name)

    def roll_back(self) -> str:
        """Serve the revision before the active one; says what was done.

        Raises:
            Failure: there is none to go back to.

        """
        now = self.active()
        history = revision.rolled_back(now.history, {one.name for one in self.listed()})
        if not history:
            raise Failure(
                "There is no revision to go back to.",
                f"None of those activated before {now.name or 'now'} is in the bucket any more.",
                "See `./inv ember.list`; `./inv ember.activate` serves any that is there.",
            )
        self._serve(history[0], history, now)
        return f"Revision {history[0]} is active again. Before: {now.name}."

    def prune(self, keep: int, days: float, dry_run: bool) -> Iterator[str]:
        """Remove old revisions; says each."""
        if keep < 0 or days < 0:
            raise UsageError("--keep and --older-than cannot be negative.")
        if days > timedelta.max.days:
            raise UsageError(f"--older-than cannot be more than {timedelta.max.days:,} days.")
        chosen = self._prunable(keep, days)
        for name, (generation, what) in chosen.items():
            if dry_run:
                yield f"{name} would be removed ({what})."
                continue
            yield f"{name} {pruning.prune(self._pool, self._access, self._prefix, name, generation)}."
        if not chosen:
            yield "Nothing to remove."

    def _prunable(self, keep: int, days: float) -> dict[str, tuple[int, str]]:
        """The revisions to remove: the generation of what says how far each is, and what there is of it."""
        found, served = revisions.listed(self._pool, self._access, self._prefix), self.active()
        whole = pruning.older(found.complete, served, keep, days)
        now = datetime.now(UTC)
        left = pruning.abandoned(self._pool, self._access, self._prefix, found.incomplete, days, now)
        begun = {name: generation for name, generation in found.pruned.items() if name != served.name}
        return {
            **{one.name: (one.generation, f"{one.files} files") for one in whole},
            **dict.fromkeys(left, (ABSENT, LEFT)),
            **{name: (generation, LEFT) for name, generation in begun.items()},
        }

    def verify(self, asked: str, cors: Sequence[Cors]) -> str:
        """Examine the revision that `asked` names or begins, else the active one; says that it is sound.

        Args:
            asked: a revision, or how it begins; empty for the active one.
            cors: who may read the bucket from pages of other origins.

        Raises:
            Failure: it is not; all that is wrong is listed.

        """
        from tasks.lib.ember import verification

        chosen = asked or self.active().name
        if not chosen:
            raise Failure(
                f"No revision is active at {self._prefix}.",
                "Nothing was uploaded there, or only in place, where there are no revisions to compare with.",
                "`./inv ember.list` shows what is there; name one with --revision.",
            )
        complete = self.listed()
        if not asked and chosen not in {one.name for one in complete}:
            raise Failure(
                f"Revision {chosen} is active and not whole.",
                f"- {revision.manifest_name(self._prefix, chosen)} is missing.",
                "Upload its archive again: only what is missing is sent.",
            )
        name = revisions.known(complete, chosen)
        faults = verification.verify(self._pool, self._access, self._prefix, name, verification.asking(cors))
        if faults:
            raise Failure(
                f"Revision {name} is not as it should be.",
                "\n".join(f"- {fault}" for fault in faults),
                verification.mending(faults, name, self.url),
            )
        return f"Revision {name} is whole, and served as it should be."

    def _serve(self, name: str, history: list[str], now: Active) -> None:
        activation.activate(self._pool, self._access, self._prefix, name, history, now)
