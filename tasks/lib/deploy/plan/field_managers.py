"""Whose an object and its fields are: our label, managed fields (FieldsV1), conflicts with other managers.

A path of managed fields is a sequence of steps: `f:` is a field, `k:` an item of a list by its keys, `v:` one
by its value.  Source: https://github.com/kubernetes-sigs/structured-merge-diff, fieldpath.
"""

import copy
import functools
import json
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tasks.lib.cluster.api import FIELD_MANAGER, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.objects import Ref, Wanted, managed_fields
from tasks.lib.errors import UsageError

Fields = Mapping[str, Any]
Path = tuple[str, ...]
# Its value is the environment's namespace: the cluster's mark sees to it that each holds one environment.
LABEL: Final = "lookit-orchestrator/owner"
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
    """The conflicts that nobody has allowed us to force: `forced` names fields as `bare` spells them.

    What this project set in another way, as the replicas of a workload that a restore stopped, is its own.
    """
    ours = {FIELD_MANAGER, *predecessors}
    return tuple(c for c in found if c.manager not in ours and bare(c.named) not in forced)


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
    """Whether an item has these keys, or is this value."""
    if "" in keys:
        return bool(item == keys[""])
    return bool(keys) and _has_keys(item, keys)


def bare(named: str) -> str:
    """`Kind/name:field` without what a shell takes away or people leave out: quotes, and the first dot.

    Raises UsageError where it names no field.
    """
    thing, _, field = named.partition(":")
    if "/" not in thing or not field.strip(". "):
        raise UsageError(
            f"{OPTION} {named} names no field.",
            "Only fields that are named are taken over, so that nothing else that others set is lost.",
            f"{OPTION} Kind/name:field; a deploy that is refused, and ./inv plan, say which.",
        )
    return f"{thing}:{field.strip().lstrip('.')}".replace('"', "")


def labelled(w: Wanted, owner: str) -> Wanted:
    """The same object with our label; selectors and the templates of pods stay as they are."""
    metadata = w.body["metadata"]
    labels = {**(metadata.get("labels") or {}), LABEL: owner}
    return Wanted(w.ref, {**w.body, "metadata": {**metadata, "labels": labels}})


def owner_of(thing: Json) -> str:
    """What our label says on an object; empty without one."""
    return str((thing["metadata"].get("labels") or {}).get(LABEL, ""))


def other_managers(live: Json, controllers: Collection[str]) -> list[str]:
    """Who else wrote fields of an object, apart from its status and from `controllers`; sorted."""
    entries = managed_fields(live)
    ours = {FIELD_MANAGER, *controllers}
    return sorted(
        {e["manager"] for e in entries if e["manager"] not in ours and e.get("subresource") != "status"}
    )


def is_ours(live: Json) -> bool:
    """Whether this project applied the object, and nothing that lives made it."""
    metadata = live["metadata"]
    return any(map(is_our_apply, metadata.get("managedFields") or [])) and not metadata.get("ownerReferences")


def is_our_apply(entry: Json) -> bool:
    """Whether managed fields are what this project applied."""
    return (entry["manager"], entry["operation"]) == (FIELD_MANAGER, "Apply")


def spelled(path: Sequence[str]) -> str:
    """A path of managed fields as people write it: `spec.containers[web].image`."""
    text = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            text += f".{rest}" if text else rest
        else:
            named = json.loads(rest) if kind in {"k", "v"} else rest
            shown = named.get("name") or next(iter(named.values())) if isinstance(named, dict) else named
            text += f"[{shown}]"
    return text


def at(value: Any, path: Sequence[str]) -> Any:
    """The value at a path of managed fields, or None."""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f" and isinstance(value, Mapping):
            value = value.get(rest)
        elif kind == "k" and isinstance(value, list):
            keys = json.loads(rest)
            value = next((v for v in value if _has_keys(v, keys)), None)
        elif kind == "v" and isinstance(value, list):
            value = next((v for v in value if v == json.loads(rest)), None)
        else:
            return None
    return value


def _has_keys(item: Any, keys: Json) -> bool:
    """Whether these are the keys of an item; what a manifest leaves out, the server filled in."""
    return isinstance(item, Mapping) and all(item.get(key, value) == value for key, value in keys.items())


def paths(entry: Json) -> set[tuple[str, ...]]:
    """Every leaf of an entry of managed fields."""
    return set(_leaves(entry.get("fieldsV1") or {}, ()))


def _leaves(fields: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    inner = {key: value for key, value in fields.items() if key != "."}
    if not inner and path:
        yield path
    for key, value in inner.items():
        yield from _leaves(value, (*path, key))


def fields_of(entries: Sequence[Json]) -> Fields:
    """The fields of several entries as one."""
    return functools.reduce(union, (entry.get("fieldsV1") or {} for entry in entries), {})


def only_in(fields: Fields, others: Fields, path: Path = ()) -> Iterator[Path]:
    """Where `fields` lead and `others` do not."""
    for key, inner in fields.items():
        if key not in others and key != ".":
            yield (*path, key)
        elif inner:
            yield from only_in(inner, others[key], (*path, key))


def remove(thing: Json, path: Path) -> None:
    """Take what is at `path` out of `thing`, if it is there."""
    parent, value = at(thing, path[:-1]), at(thing, path)
    if isinstance(parent, dict):
        parent.pop(path[-1].partition(":")[2], None)
    elif isinstance(parent, list) and value in parent:
        parent.remove(value)


def union(one: Fields, other: Fields) -> Fields:
    """Two sets of fields as one."""
    merged = dict(one)
    for key, value in other.items():
        merged[key] = union(merged[key], value) if key in merged else value
    return merged
