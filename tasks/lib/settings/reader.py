"""From layers of plain values to settings: merge, validate everything, report every fault at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import replace

from tasks.lib.errors import UsageError, all_faults, nearest

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings
    from tasks.lib.settings.structure import Fault


# The sources that hold settings of this project alone, and the sections that Invoke keeps in them.
OWN_FILES = ("invoke.yaml", "invoke -f")
INVOKES_OWN = ("run", "runners", "sudo", "tasks", "timeouts")
NOTES = "x-"  # begins the names of sections that hold anchors for others, as Compose files have them


class Layer(Struct, frozen=True):
    """One source of settings, such as a file: later layers win over earlier ones."""

    source: str
    values: Mapping[str, Any]


class Explained(Struct, frozen=True):
    """One setting in force: its dotted key, its value and the source that it came from."""

    key: str
    value: object
    source: str


def read(layers: Sequence[Layer], root: Path) -> "Settings":
    """Build the settings from `layers`, lowest first.

    Args:
        layers: where values come from; Invoke's own sections among them are passed over.
        root: the folder that relative paths start from.

    Raises:
        UsageError: at least one value is missing, unknown or of the wrong type; all such faults are listed.

    """
    from tasks.lib.settings.model import Settings
    from tasks.lib.settings.structure import Faults, fill

    values = _with_names(_sections(merged(layers)))
    if not values and not (root / "invoke.yaml").exists():
        raise no_settings(root)
    faults = _unknown_sections(layers)
    try:
        settings = fill(Settings, {**values, "root": root})
    except Faults as error:
        faults += [_told(fault) for fault in error.faults]
    if faults:
        raise all_faults(
            "The settings are not valid.", faults,
            "Fix invoke.yaml (each key is documented there), or the INVOKE_… variable that sets the key.",
        )  # fmt: skip
    if shared := _shared_branches(settings):
        raise all_faults("The settings are not valid.", shared, "Give each environment a branch of its own.")
    return replace(
        settings, google=settings.google.found_from(root), registry=settings.registry.found_from(root)
    )


def misshapen(values: Mapping[str, Any]) -> list[str]:
    """What has a section in place of another value, or the other way round: layers can not be merged then."""
    from tasks.lib.settings.model import Settings
    from tasks.lib.settings.structure import SECTIONS, Faults, fill

    try:
        fill(Settings, _sections(values))
    except Faults as error:
        return [
            _told(fault)
            for fault in error.faults
            if fault.expected in SECTIONS or isinstance(fault.value, Mapping)
        ]
    return []


def no_settings(root: Path) -> UsageError:
    """The checkout at `root` has lost its invoke.yaml."""
    return UsageError(
        f"There are no settings: {root / 'invoke.yaml'} is missing.",
        "Every setting stands in that file, which belongs to this repository.",
        "Bring it back: git checkout -- invoke.yaml",
    )


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """The values of all layers, merged key by key, later ones on top."""
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


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merge(result[key], value) if both else value
    return result


def _sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """Only what belongs to this project: Invoke keeps its own sections beside ours."""
    from tasks.lib.settings.model import Settings

    return {name: values[name] for name in Settings.__struct_fields__ if name in values}


def _unknown_sections(layers: Sequence[Layer]) -> list[str]:
    """Sections of this project's own files that nobody reads; other files may hold other projects'."""
    from tasks.lib.settings.model import Settings

    known = {*Settings.__struct_fields__, *INVOKES_OWN}
    there = dict.fromkeys(name for layer in layers if layer.source in OWN_FILES for name in layer.values)
    unknown = [name for name in there if name not in known and not name.startswith(NOTES)]
    return [f"{name} is not a setting{_suggestion((name,))}." for name in unknown]


def _with_names(values: dict[str, Any]) -> dict[str, Any]:
    """Tell each environment the name it goes by."""
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


def _told(fault: "Fault") -> str:
    """One fault as `key: what is wrong; what is allowed`."""
    from tasks.lib.settings.structure import Kind

    if fault.kind is Kind.MISSING:
        return f"{fault.key} is missing."
    if fault.kind is Kind.UNKNOWN:
        return f"{fault.key} is not a setting{_suggestion(fault.path)}."
    return f"{fault.key} is {fault.value!r}, but should be {fault.expected}."


def _suggestion(path: Sequence[str]) -> str:
    """Name what is allowed beside an unknown key, the nearest one first."""
    allowed = _allowed_beside(path)
    near = nearest(path[-1], allowed)
    meant = f"; did you mean {near}?" if near else ""
    return f"{meant}; allowed here: {', '.join(allowed)}" if allowed else meant


def _allowed_beside(path: Sequence[str]) -> list[str]:
    """The keys that the section holding `path` knows."""
    from msgspec import Struct

    from tasks.lib.settings.model import Environment, Settings

    section: type[Struct] = Settings
    for part in path[:-1]:
        if section is Settings and part == "environments":
            section = Environment
        elif part in (hints := get_type_hints(section)):
            section = _held(hints[part])
    return [name for name in section.__struct_fields__ if name not in {"root", "name"}]


def _held(kind: Any) -> Any:
    """The section that `kind` is, or that a list of them holds."""
    return _held(get_args(kind)[0]) if get_origin(kind) is list else kind


def _shared_branches(settings: "Settings") -> list[str]:
    """Environments that claim the same branch: a deploy could not tell which is meant."""
    by_branch: dict[str, list[str]] = {}
    for environment in settings.environments.values():
        by_branch.setdefault(environment.branch, []).append(environment.name)
    return [
        f"environments {' and '.join(names)} share the branch {branch}."
        for branch, names in by_branch.items()
        if len(names) > 1
    ]
