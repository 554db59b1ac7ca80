"""Fields that another manager owns, and which of them `--force-conflicts` names: never whole objects."""

import copy
import json
import re
import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.objects import Ref
from tasks.lib.errors import UsageError

OPTION: Final = "--force-conflicts"
MANAGER: Final = re.compile(r'conflict with "([^"]+)"')
TEXT: Final = r'"(?:[^"\\]|\\.)*"'
# How the server names an item of a list, by its keys or by its value: `[name="web"]`, `[="web"]`.
ITEM: Final = re.compile(rf'\[((?:{TEXT}|[^]"])*)\]')
KEY: Final = re.compile(rf"(\w*)=({TEXT}|[^,]+)")


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


def not_ours(
    found: Iterable[Conflict], predecessors: Collection[str], forced: Collection[str]
) -> tuple[Conflict, ...]:
    """The conflicts that may not be resolved in our favour.

    Args:
        found: all conflicts of an object.
        predecessors: field managers whose values are taken over silently.
        forced: the fields to take over on request, as `bare` spells them.

    """
    return tuple(c for c in found if c.manager not in predecessors and bare(c.named) not in forced)


def options(conflicts: Iterable[Conflict]) -> str:
    """The options that take the fields over, as a shell takes them."""
    return " ".join(f"{OPTION} {shlex.quote(conflict.named)}" for conflict in conflicts)


def without(body: Json, conflicts: Iterable[Conflict]) -> Json | None:
    """The same object without the fields of these conflicts; None where one of them is not found in it."""
    rest = copy.deepcopy(body)
    fields = {conflict.field for conflict in conflicts}  # two managers may own the same
    return rest if all(_drop(rest, field) for field in sorted(fields, key=len, reverse=True)) else None


def _drop(thing: Any, field: str) -> bool:
    """Take a field out of `thing`; returns False where it is not there.  Names may hold dots themselves."""
    places: list[tuple[Any, str]] = []
    if isinstance(thing, dict):
        names = [name for name in thing if field.startswith(f".{name}")]
        places = [(name, field[len(name) + 1 :]) for name in sorted(names, key=len, reverse=True)]
    elif isinstance(thing, list) and (named := ITEM.match(field)):
        keys = {key: json.loads(value) for key, value in KEY.findall(named[1])}
        places = [(i, field[named.end() :]) for i, item in enumerate(thing) if _is_named(item, keys)]
    for place, rest in places:
        if not rest:
            del thing[place]
            return True
        if rest[0] in ".[" and _drop(thing[place], rest):
            return True
    return False


def _is_named(item: Any, keys: Json) -> bool:
    """Whether these are the keys of an item; what a manifest leaves out, the server filled in."""
    if "" in keys:
        return bool(item == keys[""])
    return bool(keys) and isinstance(item, dict) and all(item.get(k, v) == v for k, v in keys.items())


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
