"""From layers of plain values to settings: merge them, check everything, report all problems together."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tasks.lib.errors import UsageError, all_problems, nearest
from tasks.lib.settings.model import Settings
from tasks.lib.settings.structure import SECTIONS, Kind, Problem, Problems, fill

# The sources that hold settings of this project alone, and the sections that Invoke keeps in them.
OWN_FILES = ("invoke.yaml", "invoke -f")
INVOKES_OWN = ("run", "runners", "sudo", "tasks", "timeouts")
ANCHORS = "x-"  # begins the names of sections that hold anchors for others, as in Compose files
# What the reader fills in by itself.
FILLED_IN = frozenset({"root", "name"})

VARIABLE = "INVOKE_"
SWITCHES = ("0", "1", "", "true")


class Layer(Struct, frozen=True):
    """One source of settings, such as a file: later layers win over earlier ones."""

    source: str
    values: Mapping[str, Any]


class Explained(Struct, frozen=True):
    """One setting in force: its dotted key, its value and its source."""

    key: str
    value: object
    source: str


def read(layers: Sequence[Layer], root: Path) -> Settings:
    """Build the settings from `layers`, lowest first.

    Args:
        layers: where values come from; Invoke's own sections in them are passed over.
        root: the folder that relative paths start from.

    Raises UsageError where values are missing, unknown or of the wrong type; all of them are listed.
    """
    values = _with_names(_sections(merged(layers)))
    if not values and not (root / "invoke.yaml").exists():
        raise no_settings(root)
    problems = _unknown_sections(layers)
    try:
        settings = fill(Settings, {**values, "root": root})
    except Problems as error:
        problems += [_sentence(problem) for problem in error.problems]
    if problems:
        raise all_problems(
            "The settings are not valid.", problems,
            "Fix invoke.yaml (each key is documented there), or the INVOKE_… variable that sets the key.",
        )  # fmt: skip
    if shared := _shared_branches(settings):
        raise all_problems("The settings are not valid.", shared, "Give each environment its own branch.")
    return replace(
        settings, google=settings.google.found_from(root), registry=settings.registry.found_from(root)
    )


def mismatches(values: Mapping[str, Any]) -> list[str]:
    """Where a section stands in place of another value, or the reverse: such layers cannot be merged."""
    try:
        fill(Settings, _sections(values))
    except Problems as error:
        return [
            _sentence(problem)
            for problem in error.problems
            if problem.expected in SECTIONS or isinstance(problem.value, Mapping)
        ]
    return []


def no_settings(root: Path) -> UsageError:
    """The error for a checkout at `root` without invoke.yaml."""
    return UsageError(
        f"There are no settings: {root / 'invoke.yaml'} is missing.",
        "That file belongs to this repository and holds every setting.",
        "Restore it: git checkout -- invoke.yaml",
    )


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """The values of all layers, merged key by key; later layers win."""
    result: dict[str, Any] = {}
    for layer in layers:
        result = _merge(result, layer.values)
    return result


def explain(layers: Sequence[Layer]) -> list[Explained]:
    """Every setting in force with the source of its value, in the order of the lowest layer."""
    return [
        Explained(".".join(path), value, _source(layers, path))
        for path, value in _leaves(_sections(merged(layers)))
    ]


def variable_problems(variables: Mapping[str, str], settings: Sequence[Explained]) -> list[str]:
    """What is wrong with the INVOKE_ variables that are meant for `settings`, one sentence each.

    Invoke itself passes over names that it does not know, and reads every word as true, `false` included.
    """
    known = {VARIABLE + setting.key.replace(".", "_").upper(): setting.value for setting in settings}
    sections = {VARIABLE + setting.key.partition(".")[0].upper() for setting in settings}
    meant = [
        name for name in sorted(variables)
        if any(name == section or name.startswith(f"{section}_") for section in sections)
    ]  # fmt: skip
    checked = [
        _mismatch(name, variables[name], known[name]) if name in known else _unknown_variable(name, known)
        for name in meant
    ]
    return [problem for problem in checked if problem]


def _mismatch(name: str, text: str, value: object) -> str:
    """Why `text` cannot replace `value`; empty where it can."""
    if isinstance(value, list | Mapping):
        return f"{name} would set a list or section, which no variable can: use a file, and name it with -f."
    if isinstance(value, bool) and text not in SWITCHES:
        return f"{name} is {text!r}, but should be 1 or 0."
    if type(value) is int and not text.removeprefix("-").isdecimal():
        return f"{name} is {text!r}, but should be a whole number."
    return ""


def _unknown_variable(name: str, known: Mapping[str, object]) -> str:
    near = nearest(name, known)
    return f"{name} sets nothing{f'; did you mean {near}?' if near else '.'}"


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merge(result[key], value) if both else value
    return result


def _sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """Only what belongs to this project: Invoke keeps its own sections beside ours."""
    return {name: values[name] for name in Settings.__struct_fields__ if name in values}


def _unknown_sections(layers: Sequence[Layer]) -> list[str]:
    """Sections of this project's own files that nobody reads; other files may hold other projects'."""
    known = Settings.__struct_fields__
    found = dict.fromkeys(name for layer in layers if layer.source in OWN_FILES for name in layer.values)
    unknown = [name for name in found if name not in {*known, *INVOKES_OWN} and not name.startswith(ANCHORS)]
    return [_sentence(Problem((name,), Kind.UNKNOWN, known=known)) for name in unknown]


def _with_names(values: dict[str, Any]) -> dict[str, Any]:
    """Add to each environment its name."""
    environments = values.get("environments")
    if not isinstance(environments, Mapping):
        return values
    named = {
        name: {**section, "name": name} if isinstance(section, Mapping) else section
        for name, section in environments.items()
    }
    return {**values, "environments": named}


def _leaves(
    values: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def _source(layers: Sequence[Layer], path: tuple[str, ...]) -> str:
    """The highest layer that has a value at `path`."""
    for layer in reversed(layers):
        value: Any = layer.values
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                break
            value = value[key]
        else:
            return layer.source
    return "unknown"


def _sentence(problem: Problem) -> str:
    """One problem as a sentence: the key, what is wrong, and what is allowed."""
    if problem.kind is Kind.MISSING:
        return f"{problem.key} is missing."
    if problem.kind is Kind.WRONG:
        return f"{problem.key} is {problem.value!r}, but should be {problem.expected}."
    allowed = [name for name in problem.known if name not in FILLED_IN]
    near = nearest(problem.path[-1], allowed)
    meant = f"; did you mean {near}?" if near else ""
    return f"{problem.key} is not a setting{meant}; allowed here: {', '.join(allowed)}."


def _shared_branches(settings: Settings) -> list[str]:
    """Environments with the same branch: it would not say which to deploy to."""
    by_branch: dict[str, list[str]] = {}
    for environment in settings.environments.values():
        by_branch.setdefault(environment.branch, []).append(environment.name)
    return [
        f"environments {' and '.join(names)} share the branch {branch}."
        for branch, names in by_branch.items()
        if len(names) > 1
    ]
