"""The settings in force as text or JSON, all or those of one environment."""

import json
from collections.abc import Sequence

from msgspec.structs import asdict

from tasks.lib.settings.reader import Explained


def concerning(explained: Sequence[Explained], environment: str) -> list[Explained]:
    """Leave out the sections of other environments; an empty name keeps all."""
    if not environment:
        return list(explained)
    return [
        setting
        for setting in explained
        if not setting.key.startswith("environments.")
        or setting.key.startswith(f"environments.{environment}.")
    ]


def as_text(explained: Sequence[Explained]) -> str:
    """One line per setting: key, source and value in columns; the value last, because some are very long."""
    shown = [
        (setting.key, setting.source, _printable(json.dumps(setting.value, ensure_ascii=False)))
        for setting in explained
    ]
    widths = [max(len(row[column]) for row in shown) for column in (0, 1)]
    return "\n".join(f"{key:<{widths[0]}}  {source:<{widths[1]}}  {value}" for key, source, value in shown)


def as_json(explained: Sequence[Explained]) -> str:
    """A JSON array of `{"key", "value", "source"}`."""
    return _printable(json.dumps([asdict(setting) for setting in explained], indent=2, ensure_ascii=False))


def _printable(written: str) -> str:
    """JSON text in which bytes that are not UTF-8, as a variable may hold, are escaped."""
    return written.encode(errors="backslashreplace").decode()
