"""What would change in an object, field by field: pure comparison of before and after, without secrets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.objects import APPLIED, RAN
from tasks.lib.redaction import REDACTED

# What the server keeps for itself, and our own fingerprints.
NOISE: Final = frozenset(
    {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"}
)
# kubectl's copy of the whole object, a Secret's values included.
COPY: Final = "kubectl.kubernetes.io/last-applied-configuration"
SECRET_FIELDS: Final = ("data.", "stringData.")
LONGEST: Final = 120
CUT: Final = "…"


@dataclass(frozen=True)
class Change:
    """One field that differs; `None` stands for absent, texts are as they are shown."""

    field: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.field}: {self.after}"
        if self.after is None:
            return f"- {self.field}: {self.before}"
        return f"~ {self.field}: {self.before} → {self.after}"


def changes(before: Json | None, after: Json) -> list[Change]:
    """Every field in which `after` differs from `before`, sorted; a new object has none but itself."""
    if before is None:
        return []
    old, new = dict(_leaves(content(before))), dict(_leaves(content(after)))
    secret = after.get("kind") == "Secret"
    return [
        Change(field, _shown(old, field, secret=secret), _shown(new, field, secret=secret))
        for field in sorted(old.keys() | new.keys())
        if old.get(field, _ABSENT) != new.get(field, _ABSENT)
    ]


_ABSENT: Final = object()


def content(thing: Json) -> Json:
    """An object without status, the server's own notes and our fingerprints."""
    metadata = {key: value for key, value in thing["metadata"].items() if key not in NOISE}
    kept = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in {APPLIED, RAN, COPY}}
    metadata["annotations"] = kept
    return {**{key: value for key, value in thing.items() if key != "status"}, "metadata": metadata}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, by its path; list items go by their name where they have one."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            name = inner.get("name", number) if isinstance(inner, Mapping) else number
            yield from _leaves(inner, f"{path}[{name}]")
    elif value not in ({}, []):
        yield path, value


def _shown(leaves: Mapping[str, Any], field: str, *, secret: bool) -> str | None:
    if field not in leaves:
        return None
    if secret and field.startswith(SECRET_FIELDS):
        return REDACTED
    text = str(leaves[field])
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + CUT
