"""Filling in `*.template.yaml` files: a pure function from text and variables to text.

`$NAME` and `${NAME}` become the variable's value and `$$` a dollar.  `$(NAME)` is Kubernetes' own and stays,
as does a dollar before anything else (`$1` in a rewrite rule).
"""

import re
from collections.abc import Mapping
from pathlib import Path

from tasks.lib.errors import all_problems

SUFFIX = ".template.yaml"
REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\}|(?P<broken>\{[^\n}]*\}?))"
)


def fill_tree(tree: Path, variables: Mapping[str, str]) -> None:
    """Write `X.yaml` for every `X.template.yaml` below `tree`, a working copy, and remove the template.

    An empty value counts as missing. Raises UsageError where a template refers to an undeclared or empty
    variable, or in an unknown form, or is a link out of the tree; all such places are listed with file and
    line, and nothing was written.
    """
    templates = sorted(tree.rglob(f"*{SUFFIX}"))
    texts = {}
    problems: list[str] = []
    for template in templates:
        place = template.relative_to(tree)
        if unreadable := _unreadable(template, tree):
            problems.append(f"{place}: {unreadable}")
            continue
        texts[template] = template.read_text()
        problems += [f"{place}:{line}: {why}" for line, why in problems_in(texts[template], variables)]
    if problems:
        declared = ", ".join(f"${name}" for name in sorted(variables))
        raise all_problems("Templates cannot be filled in.", problems, f"Declared variables: {declared}.")
    for template, text in texts.items():
        _replace(template, fill(text, variables))


def _unreadable(template: Path, tree: Path) -> str:
    """Why a template is not read, or an empty text.

    A link could lead to any file of this machine, past kustomize's own restriction to the tree.
    """
    if not template.resolve().is_relative_to(tree.resolve()):
        return f"a link to {template.readlink() if template.is_symlink() else template}, outside the tree"
    if not template.is_file():
        return "not a file"
    try:
        template.read_text()
    except UnicodeDecodeError as error:
        return f"not UTF-8 text ({error.reason})"
    return ""


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every reference replaced; it must have no problems."""
    return REFERENCE.sub(lambda found: "$" if found["dollar"] else variables[_name(found)], text)


def problems_in(text: str, variables: Mapping[str, str]) -> list[tuple[int, str]]:
    """Every reference in `text` that cannot be replaced, as (line number, what is wrong)."""
    return [
        (number, problem)
        for number, line in enumerate(text.splitlines(), start=1)
        for found in REFERENCE.finditer(line)
        if (problem := _problem(found, variables))
    ]


def _problem(found: "re.Match[str]", variables: Mapping[str, str]) -> str:
    if found["dollar"]:
        return ""
    if found["broken"]:
        return f"{found[0]} is not understood; use $NAME, ${{NAME}} or $$ (a dollar)"
    name = _name(found)
    if name not in variables:
        return f"{found[0]} is not declared; write $$ for a literal dollar"
    return "" if variables[name] else f"{found[0]} is empty"


def _name(found: "re.Match[str]") -> str:
    return found["plain"] or found["braced"]


def _replace(template: Path, text: str) -> None:
    target = template.with_name(template.name.removesuffix(SUFFIX) + ".yaml")
    target.unlink(missing_ok=True)  # through a link the text would be written elsewhere, even out of the copy
    target.write_text(text)
    template.unlink()
