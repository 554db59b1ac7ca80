"""From a build file's text to its types, checked whole: all problems are told, in Cloud Build's terms."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tasks.lib.errors import UsageError, all_problems, nearest
from tasks.lib.pipeline.build_file import SECTIONS, Build
from tasks.lib.pipeline.rules import RULES
from tasks.lib.settings.files import load_yaml
from tasks.lib.settings.structure import Kind, Problem, Problems, fill

# Google's tools read some of the spellings that these are compared by, and refuse others.
NEAR = 0.85


def load(path: Path) -> Build:
    """Read and check a build file; all problems are listed in one UsageError."""
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
    """Check the content of a build file named `where`, as `load`."""
    try:
        build = fill(Build, content, ignored=lambda problem: not misspelled(problem.path[-1]))
    except Problems as error:
        problems = [_told(problem) for problem in error.problems]
        raise all_problems(f"{where} is not a valid build file.", problems) from error
    if problems := [problem + "." for rule in RULES for problem in rule(build)]:
        raise all_problems(f"Cloud Build would refuse {where}.", problems)
    return build


def _told(problem: Problem) -> str:
    """One problem in words."""
    if problem.kind is Kind.UNKNOWN:
        return f"{problem.key} is not a field; did you mean {misspelled(problem.path[-1])}?"
    if problem.kind is Kind.MISSING:
        return f"{problem.key} is missing."
    return f"{problem.key or 'The whole file'} should be {problem.expected}."


def misspelled(name: str) -> str:
    """The field that was meant by `name`; empty where `name` is a field, or like none."""
    near = nearest(name, (field.name for section in SECTIONS for field in fields(section)), NEAR)
    return near if near != name else ""
