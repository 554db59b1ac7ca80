"""What would change in an object, field by field: pure comparison of before and after, without secrets."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import APPLIED, RAN, annotations
from tasks.lib.deploy.steps import Change
from tasks.lib.redaction import REDACTED, Redactor

# What the server keeps for itself, and our own fingerprints.
NOISE: Final = frozenset(
    {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"}
)
# kubectl's copy of the whole object, a Secret's values included.
COPY: Final = "kubectl.kubernetes.io/last-applied-configuration"
NOTES: Final = frozenset({APPLIED, RAN, COPY})
SECRET_FIELDS: Final = frozenset({"data", "stringData"})
LONGEST: Final = 120
CUT: Final = "…"
ITEM: Final = re.compile(r"\[[^]]*\]")
# Up to so many fields that change alike are shown one by one.
FEW: Final = 3


def masked(found: Iterable[Change], redactor: Redactor) -> tuple[Change, ...]:
    """Changes without secret values: a ConfigMap may repeat one."""
    return tuple(
        Change(
            one.field,
            *(text if text is None else redactor.line(text) for text in (one.before, one.after)),
        )
        for one in found
    )


def changes(before: Json | None, after: Json) -> list[Change]:
    """Every field in which `after` differs from `before`, sorted; a new object has none but itself."""
    if before is None:
        return []
    old, new = dict(_leaves(content(before))), dict(_leaves(content(after)))
    secret = after.get("kind") == "Secret"
    return [
        Change(field, _shown(old, field, secret=secret), _shown(new, field, secret=secret))
        for field in sorted(old.keys() | new.keys())
        if old.get(field, _ABSENT) != new.get(field, _ABSENT) and not _is_filled(field, old, new)
    ]


def alike(changes: Sequence[Change]) -> list[list[Change]]:
    """The changes by group: where a field of many items of a list changes from and to the same, one group.

    So the 24 variables of a container that read a ConfigMap of another name now are told at once.  What comes
    or goes is told one by one.
    """
    groups: dict[tuple[str, str | None, str | None], list[Change]] = {}
    for change in changes:
        is_changed = change.before is not None and change.after is not None
        field = ITEM.sub("[]", change.field) if is_changed else change.field
        groups.setdefault((field, change.before, change.after), []).append(change)
    return [
        part
        for group in groups.values()
        for part in ([group] if len(group) > FEW else [[one] for one in group])
    ]


_ABSENT: Final = object()


def notes(before: Json, after: Json) -> list[Change]:
    """The fingerprints that differ, and whether kubectl's copy goes, where nothing else differs."""
    old, new = ({k: v for k, v in annotations(thing).items() if k in NOTES} for thing in (before, after))
    return [
        Change(f"metadata.annotations.{name}", *(_note(one, name) for one in (old, new)))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def content(thing: Json) -> Json:
    """An object without status, the server's own notes and our fingerprints."""
    dropped = NOISE | {"annotations"}
    metadata = {key: value for key, value in thing["metadata"].items() if key not in dropped}
    if kept := {key: value for key, value in annotations(thing).items() if key not in NOTES}:
        metadata["annotations"] = kept
    return {**{key: value for key, value in thing.items() if key != "status"}, "metadata": metadata}


def _note(notes: Mapping[str, str], name: str) -> str | None:
    return None if name not in notes else REDACTED if name == COPY else notes[name][:12]


def _is_filled(field: str, *sides: Mapping[str, Any]) -> bool:
    """Whether a field is empty on one side, and on the other has parts, which are told themselves."""
    return any(
        side.get(field) in ({}, []) and any(key.startswith((f"{field}.", f"{field}[")) for key in other)
        for side, other in (sides, reversed(sides))
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, by its path; list items go by their name where they have one."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            name = inner.get("name", number) if isinstance(inner, Mapping) else number
            yield from _leaves(inner, f"{path}[{name}]")
    else:
        yield path, value


def _shown(leaves: Mapping[str, Any], field: str, *, secret: bool) -> str | None:
    if field not in leaves:
        return None
    if secret and field.partition(".")[0] in SECRET_FIELDS and leaves[field] != {}:
        return REDACTED
    text = str(leaves[field])
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + CUT
