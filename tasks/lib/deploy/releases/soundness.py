"""Facts of a release that somebody changed by hand, so that nothing can be read out of them any more.

They are left out and named, and whoever looks at the history sees the rest.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

DAMAGED: Final = "damaged"


def sound(facts: Mapping[str, str]) -> dict[str, str]:
    """The facts that can be read; `damaged` names those that cannot."""
    damaged = [name for name, text in facts.items() if name in FORMS and not _is_read(FORMS[name], text)]
    kept = {name: text for name, text in facts.items() if name not in damaged}
    return {**kept, DAMAGED: ", ".join(sorted(damaged))} if damaged else kept


def _is_read(form: Callable[[str], bool], text: str) -> bool:
    try:
        return form(text)
    except (ValueError, RecursionError):
        return False


def _are_secrets(text: str) -> bool:
    read: Any = json.loads(text)
    return isinstance(read, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("name"), str)
        and isinstance(one.get("namespace"), str | None)
        and _are_texts(one.get("keys"))
        for one in read
    )


def _are_phases(text: str) -> bool:
    read: Any = json.loads(text)
    return isinstance(read, dict) and all(isinstance(took, int | float) for took in read.values())


def _are_texts(read: Any) -> bool:
    return isinstance(read, list) and all(isinstance(one, str) for one in read)


FORMS: Final[Mapping[str, Callable[[str], bool]]] = {
    "seconds": lambda text: math.isfinite(float(text)),
    "back_to": lambda text: int(text) >= 0,
    "rolled_back_to": lambda text: int(text) >= 0,
    "phases": _are_phases,
    "images": lambda text: _are_texts(json.loads(text)),
    "secrets": _are_secrets,
}
