"""INVOKE_ variables: which of them set nothing, and which say what cannot be.

Invoke itself passes over names that it does not know, and takes every word for true, `false` among them.
"""

from collections.abc import Mapping, Sequence

from tasks.lib.errors import nearest
from tasks.lib.settings.reader import Explained

PREFIX = "INVOKE_"
SWITCHES = ("0", "1", "", "true")


def faults(variables: Mapping[str, str], settings: Sequence[Explained]) -> list[str]:
    """What is wrong with those of `variables` that are meant for `settings`, one sentence each."""
    known = {PREFIX + setting.key.replace(".", "_").upper(): setting.value for setting in settings}
    sections = {PREFIX + setting.key.partition(".")[0].upper() for setting in settings}
    meant = [
        name for name in sorted(variables)
        if any(name == section or name.startswith(f"{section}_") for section in sections)
    ]  # fmt: skip
    return [
        fault
        for name in meant
        if (fault := _misfit(name, variables[name], known[name]) if name in known else _unknown(name, known))
    ]


def _misfit(name: str, text: str, value: object) -> str:
    """Why `text` cannot take the place of `value`; empty where it can."""
    if isinstance(value, list | Mapping):
        return f"{name} would set a list or section, which no variable can: use a file, and name it with -f."
    if isinstance(value, bool) and text not in SWITCHES:
        return f"{name} is {text!r}, but should be 1 or 0."
    if type(value) is int and not text.removeprefix("-").isdecimal():
        return f"{name} is {text!r}, but should be a whole number."
    return ""


def _unknown(name: str, known: Mapping[str, object]) -> str:
    near = nearest(name, known)
    return f"{name} sets nothing{f'; did you mean {near}?' if near else '.'}"
