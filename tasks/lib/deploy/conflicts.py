"""Fields that another manager owns, and which of them `--force-conflicts` names: never whole objects."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tasks.lib.cluster.refusal import ApiError
from tasks.lib.deploy.objects import Ref
from tasks.lib.errors import UsageError

OPTION: Final = "--force-conflicts"
MANAGER: Final = re.compile(r'conflict with "([^"]+)"')


@dataclass(frozen=True)
class Conflict:
    """A field that another manager owns with another value."""

    ref: Ref
    field: str
    manager: str

    def __str__(self) -> str:
        return f"{self.ref}: {self.field} is managed by {self.manager}"

    @property
    def named(self) -> str:
        """What names the field on a command line: `Kind/name:field`."""
        return f"{self.ref.kind}/{self.ref.name}:{self.field}"


def found_in(ref: Ref, error: ApiError) -> tuple[Conflict, ...]:
    """The conflicts for which an apply was refused; none where it was refused for something else."""
    if error.status != 409:
        return ()
    return tuple(
        Conflict(ref, cause.field, found[1] if (found := MANAGER.search(cause.message)) else cause.message)
        for cause in error.causes
        if cause.reason == "FieldManagerConflict"
    )


def options(conflicts: Iterable[Conflict]) -> str:
    """The options that take the fields over, as a shell takes them."""
    return " ".join(f"{OPTION} {shlex.quote(conflict.named)}" for conflict in conflicts)


def bare(named: str) -> str:
    """`Kind/name:field` without what a shell takes away or people leave out: quotes, and the first dot.

    Raises:
        UsageError: it names no field.

    """
    thing, _, field = named.partition(":")
    if "/" not in thing or not field.strip(". "):
        raise UsageError(
            f"{OPTION} {named} names no field.",
            "Only fields that are named are taken over, so that nothing else that others set is lost.",
            f"{OPTION} Kind/name:field; a deploy that is refused, and ./inv plan, say which.",
        )
    return f"{thing}:{field.strip().lstrip('.')}".replace('"', "")
