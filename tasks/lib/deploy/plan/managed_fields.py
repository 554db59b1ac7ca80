"""Paths of managed fields (FieldsV1), as the API server records who set what: spelled out, and followed.

Source: https://github.com/kubernetes-sigs/structured-merge-diff, fieldpath: `f:` is a field, `k:` an item of
a list by its keys, `v:` one by its value.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.lib.cluster.api import Json

Fields = Mapping[str, Any]
Path = tuple[str, ...]


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
            # What a manifest leaves out, such as a port's protocol, the server filled in.
            value = next((v for v in value if _has_keys(v, keys)), None)
        elif kind == "v" and isinstance(value, list):
            value = next((v for v in value if v == json.loads(rest)), None)
        else:
            return None
    return value


def _has_keys(item: Any, keys: Json) -> bool:
    return isinstance(item, Mapping) and all(item.get(key, value) == value for key, value in keys.items())


def paths(entry: Json) -> set[tuple[str, ...]]:
    """Every leaf of a record of managed fields."""
    return set(_leaves(entry.get("fieldsV1") or {}, ()))


def _leaves(fields: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    inner = {key: value for key, value in fields.items() if key != "."}
    if not inner and path:
        yield path
    for key, value in inner.items():
        yield from _leaves(value, (*path, key))


def fields_of(entries: Sequence[Json]) -> Fields:
    """The fields of several records as one."""
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
