"""Cloud Build's substitutions, in a build that a trigger starts: `$NAME`, `${NAME}` and `$$`.

Sources: https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values, and for what it
leaves open Google's own runner, https://github.com/GoogleCloudPlatform/cloud-build-local (subst, validate).

A value may name others in braces.  Cloud Build also applies bash's expansions to values, such as
`${_NAME:-x}`: no build file of ours has one, and they are refused here.  In a step's fields they are left to
a shell, as Cloud Build leaves them.
"""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

BUILT_IN = frozenset({
    "BRANCH_NAME", "BUILD_ID", "COMMIT_SHA", "LOCATION", "PROJECT_ID", "PROJECT_NUMBER", "REF_NAME",
    "REPO_FULL_NAME", "REPO_NAME", "REVISION_ID", "SERVICE_ACCOUNT", "SERVICE_ACCOUNT_EMAIL", "SHORT_SHA",
    "TAG_NAME", "TRIGGER_BUILD_CONFIG_PATH", "TRIGGER_NAME",
})  # fmt: skip
# Of these a file may give values, for builds that no trigger starts.
WITH_DEFAULTS = frozenset({"BRANCH_NAME", "COMMIT_SHA", "REPO_NAME", "REVISION_ID", "SHORT_SHA", "TAG_NAME"})
USER_DEFINED = re.compile(r"_[A-Z0-9_]+")
MOST_USER_DEFINED = 200
LONGEST_KEY = 100
LONGEST_VALUE = 4000
NAME = r"[A-Z_][A-Z0-9_]*"
IN_FIELDS = re.compile(rf"\$\$|\${{({NAME})}}|\$({NAME})")
IN_VALUES = re.compile(rf"\$\$|\${{(\w+)}}|\$({NAME})|\${{")
WHOLE_VALUE = re.compile(rf"\$({NAME})")
EXPANSION = re.compile(rf"\${{(?:#({NAME})|({NAME})(?![A-Z0-9_}}]))[^}}]*}}?")


@dataclass
class Substituter:
    """Fills in fields, and notes what keeps the build from running and what may not do what was meant."""

    values: dict[str, str]  # of built-in and user-defined substitutions, with nothing left to fill in
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def text(self, template: str) -> str:
        """`template` with its references replaced."""
        for match in EXPANSION.finditer(template.replace("$$", "")):
            if (name := match[1] or match[2]) in self.values or name in BUILT_IN:
                note(self.doubts, f"{match[0]} is left as it is, for a shell: only ${{{name}}} is replaced")
        return IN_FIELDS.sub(lambda m: "$" if m[0] == "$$" else self.value(m[1] or m[2]), template)

    def value(self, name: str) -> str:
        """The value of one substitution; empty for one that has none, as in every triggered build."""
        if name not in self.values and name not in BUILT_IN and not USER_DEFINED.fullmatch(name):
            note(
                self.problems,
                f"{name} is not a built-in substitution: write $${name} for a variable of a shell",
            )
        return self.values.get(name, "")


def resolve(templates: Mapping[str, str]) -> Substituter:
    """Fill in the user-defined values, which may name others in any order; built-in ones stay as they are."""
    own = {name: template for name, template in templates.items() if name not in BUILT_IN}
    try:
        order = [*TopologicalSorter({name: _named(own[name]) & own.keys() for name in own}).static_order()]
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        return Substituter(dict(templates), [f"substitutions refer to one another in a circle: {circle}"])
    filling = Substituter({name: templates[name] for name in templates.keys() - own.keys()})
    for name in order:
        filling.values[name] = _filled(filling, name, own[name], templates.keys() | BUILT_IN)
    return filling


def _named(template: str) -> set[str]:
    """The substitutions that a value names."""
    return {match[1] or match[2] for match in IN_VALUES.finditer(template)}


def _filled(filling: Substituter, name: str, template: str, known: Set[str]) -> str:
    """The value of the substitution `name`, whose text is `template`."""
    if whole := WHOLE_VALUE.fullmatch(template):
        return filling.value(whole[1])

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1]:
            return filling.value(match[1])
        if match[2] is None:
            note(
                filling.problems,
                f"{name} is {template}: bash's expansions are not supported here; "
                f"give the value itself, as --substitution {name}=VALUE",
            )
        elif match[2] in known:
            note(filling.problems, f"{name}: within a value only braces name another: ${{{match[2]}}}")
        return match[0]

    return IN_VALUES.sub(replaced, template)


def note(notes: list[str], text: str) -> None:
    """Add `text` to `notes`, once."""
    if text not in notes:
        notes.append(text)


def key_problems(given: Mapping[str, str]) -> list[str]:
    """What is wrong with the names and sizes of substitutions that a file or a person gives."""
    problems = []
    if len(given) > MOST_USER_DEFINED:
        problems.append(f"{len(given)} substitutions are too many: at most {MOST_USER_DEFINED} are allowed")
    for name, value in given.items():
        if not USER_DEFINED.fullmatch(name) and name not in WITH_DEFAULTS:
            problems.append(
                f"the substitution {name} must be named with an underscore and capitals, such as _NAME"
            )
        if not is_text(value):
            problems.append(f"the substitution {name} is not UTF-8 text")
        elif len(name) > LONGEST_KEY or len(value.encode()) > LONGEST_VALUE:
            limits = f"{LONGEST_KEY} for names, {LONGEST_VALUE} for values"
            problems.append(f"the substitution {name} is too long ({limits})")
    return problems


def is_text(value: str) -> bool:
    """Whether a value is text: what the command line gives may be other bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
