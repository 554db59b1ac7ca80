"""Reading one settings file: YAML or JSON with sections, each key once."""

import json
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

import yaml

from tasks.lib.errors import UsageError, all_problems

# libyaml's, where the installed PyYAML has it: ten times as fast.
FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FIX = "Fix that file, then run this again."

SUFFIXES = (".yaml", ".yml", ".json")

# The reader reports its problems, together with those of all other sources.
OWN = Path(__file__).resolve().parents[3] / "invoke.yaml"

DEEPEST = 100
TOO_DEEP = f"It is nested more than {DEEPEST} levels deep, or contains itself."

# A name, or the merge of another section.
KEYS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}


class Loader(FastLoader):  # type: ignore[misc]  # one of two classes, known at run time only
    """Plain YAML, but a repeated key is an error: PyYAML would use the last value and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a dict of `node`."""
        seen: set[str] = set()
        for key, _ in node.value:
            word = key.value if isinstance(key, yaml.ScalarNode) else ""
            if word in seen:
                raise _wrong(node, f"{word} is given twice", key)
            if key.tag not in KEYS:
                raise _wrong(node, f"{word} is not a string; put it in quotes", key)
            seen.add(word)
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


def _wrong(section: yaml.Node, problem: str, key: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(
        "while reading a section", section.start_mark, problem, key.start_mark
    )


def read_file(path: "str | PathLike[str]") -> dict[str, Any]:
    """The sections in the file at `path`; an empty file has none.

    Raises UsageError where it cannot be opened or read, does not hold sections, or has a section in place of
    a value or the reverse, which Invoke cannot merge; FileNotFoundError where it does not exist.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            values = _json(file) if Path(path).suffix == ".json" else load_yaml(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _cannot_be_read(path, f"{error.strerror}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _cannot_be_read(path, str(error)) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise _cannot_be_read(path, f"It holds a {type(values).__name__}, not sections with keys.")
    if Path(path).resolve() != OWN:
        _refuse_mismatches(path, values)
    return values


def load_yaml(source: str | TextIO) -> Any:
    """The values of a YAML file that a person wrote.

    Raises yaml.YAMLError where it is not YAML, or a key is given twice; ValueError where it is nested too
    deep, or contains itself.
    """
    values = yaml.load(source, Loader=Loader)  # noqa: S506 - it is safe
    _refuse_deep(values, DEEPEST)
    return values


def _json(file: TextIO) -> Any:
    try:
        values = json.load(file, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    _refuse_deep(values, DEEPEST)
    return values


def _refuse_deep(value: object, levels: int) -> None:
    if not isinstance(value, (dict, list)):
        return
    if not levels:
        raise ValueError(TOO_DEEP)
    for part in value.values() if isinstance(value, dict) else value:
        _refuse_deep(part, levels - 1)


def _refuse_mismatches(path: "str | PathLike[str]", values: dict[str, Any]) -> None:
    from tasks.lib.settings.reader import mismatches

    if problems := mismatches(values):
        raise all_problems(f"The settings in {path} are not valid.", problems, FIX)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, each key once."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"{key} is given twice")
        values[key] = value
    return values


def refuse_missing(named: str) -> None:
    """Refuse a name given with `-f` that is not a settings file; Invoke would ignore it or fail."""
    path = Path(named)
    if not (path.is_file() and path.suffix in SUFFIXES):
        why = f"{path.absolute()} is not a file with a name that ends in {', '.join(SUFFIXES)}."
        raise UsageError(f"{named} is not a settings file.", why, "Name another file with -f.")


def _cannot_be_read(path: "str | PathLike[str]", why: str) -> UsageError:
    return UsageError(f"The settings in {path} cannot be read.", why, FIX)
