"""How deep files that people write may be nested: what is too deep ends the process, in libyaml or Python."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import yaml

DEEPEST = 100
TOO_DEEP = f"It is nested more than {DEEPEST} levels deep."
IN_ITSELF = "&{} holds *{}: it holds itself."


def refuse_deep_yaml(text: str) -> None:
    """Look how deep YAML is nested before it is read; other faults of it are left to who reads it.

    Raises:
        ValueError: it is nested too deep, or something holds itself, which is as deep as can be.

    """
    within: list[str | None] = []  # the anchors of what is open
    with suppress(yaml.YAMLError):
        for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.CollectionStartEvent):
                within.append(event.anchor)
            elif isinstance(event, yaml.CollectionEndEvent):
                within.pop()
            elif isinstance(event, yaml.AliasEvent) and event.anchor in within:
                raise ValueError(IN_ITSELF.format(event.anchor, event.anchor))
            if len(within) > DEEPEST:
                raise ValueError(TOO_DEEP)


def refuse_deep(values: object) -> None:
    """Look how deep lists and dicts of JSON are nested.

    Raises:
        ValueError: it is too deep.

    """
    level: list[Any] = [values]
    for _ in range(DEEPEST):
        level = [part for value in level for part in _parts(value)]
    if any(isinstance(value, (dict, list)) for value in level):
        raise ValueError(TOO_DEEP)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
