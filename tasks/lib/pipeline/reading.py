"""From a build file's text to its types, checked whole: all problems are told, in Cloud Build's terms."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from tasks.lib.errors import UsageError, all_problems, nearest
from tasks.lib.pipeline.build_file import SECTIONS, Build
from tasks.lib.pipeline.rules import RULES
from tasks.lib.settings.files import load_yaml
from tasks.lib.settings.structure import Kind, Problem, Problems, fill

# Google's tools read some of the spellings that these are compared by, and refuse others.
NEAR = 0.85


def load(path: Path) -> Build:
    """Read and check a build file.

    Raises:
        UsageError: it is missing, not YAML, or breaks a rule; all problems are listed.

    """
    import yaml

    try:
        content = load_yaml(path.read_text())
    except OSError as error:
        raise UsageError(
            f"The build file {path} cannot be read.", str(error), "Name one with --file."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not valid YAML.", str(error)) from error
    return parse(content, str(path))


def parse(content: Mapping[str, Any], where: str) -> Build:
    """Check the content of a build file named `where`.

    Raises:
        UsageError: it breaks a rule; all problems are listed.

    """
    try:
        build = fill(
            Build, as_google_reads(Build, content), ignored=lambda problem: not misspelled(problem.path[-1])
        )
    except Problems as error:
        problems = [_told(problem) for problem in error.problems]
        raise all_problems(f"{where} is not a build file of Cloud Build.", problems) from error
    if problems := [problem + "." for rule in RULES for problem in rule(build)]:
        raise all_problems(f"Cloud Build would refuse {where}.", problems)
    return build


def as_google_reads(kind: Any, value: object) -> object:
    """A value in the schema's own form, where Google's readers take others for it.

    They are gcloud (google-apitools' protojson) and jsonpb: snake_case names a field too, a lone value stands
    for a list of one, and null for nothing.
    """
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(bare) is list:
        parts = value if isinstance(value, list | tuple) else [value]
        return [as_google_reads(get_args(bare)[0], part) for part in parts]
    if not is_dataclass(bare) or not isinstance(value, Mapping):
        return value
    types = {field.name: field.type for field in fields(bare)}
    given = {key: part for key, part in value.items() if part is not None}
    named = {_camel_case(key, given, types): part for key, part in given.items()}
    return {key: as_google_reads(types[key], part) if key in types else part for key, part in named.items()}


def _camel_case(key: object, given: Mapping[Any, object], types: Mapping[str, object]) -> object:
    """The field that `key` spells in snake_case; `key` itself where there is none, or both stand there."""
    name = re.sub("_([a-z])", lambda found: found[1].upper(), str(key))
    return name if name in types and name not in given else key


def _told(problem: Problem) -> str:
    """One problem in words."""
    if problem.kind is Kind.UNKNOWN:
        return f"{problem.key} is not a field; did you mean {misspelled(problem.path[-1])}?"
    return (
        f"{problem.key} is missing."
        if problem.kind is Kind.MISSING
        else f"{problem.key or 'The whole file'} should be {problem.expected}."
    )


def misspelled(name: str) -> str:
    """The field that was meant by `name`; empty where `name` is a field, or like none."""
    near = nearest(name, (field.name for section in SECTIONS for field in fields(section)), NEAR)
    return near if near != name else ""
