"""Cloud Build's substitutions: `$NAME`, `${NAME}`, `$$`, and bash's expansions where they are on.

Source: https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasks.lib.pipeline.expansion import ExpansionError, expand

BUILT_IN = frozenset({
    "BRANCH_NAME", "BUILD_ID", "COMMIT_SHA", "LOCATION", "PROJECT_ID", "PROJECT_NUMBER", "REF_NAME",
    "REPO_FULL_NAME", "REPO_NAME", "REVISION_ID", "SERVICE_ACCOUNT", "SERVICE_ACCOUNT_EMAIL", "SHORT_SHA",
    "TAG_NAME", "TRIGGER_BUILD_CONFIG_PATH", "TRIGGER_NAME",
})  # fmt: skip
USER_DEFINED = re.compile(r"_[A-Z0-9_]+")
MOST_USER_DEFINED = 200
LONGEST_KEY = 100
LONGEST_VALUE = 4000
REFERENCE = re.compile(r"\$\$|\$([A-Z_][A-Z0-9_]*)|\$\{")


@dataclass
class Substituter:
    """Replaces references in texts, and remembers which were used and what was wrong.

    Args:
        values: built-in and user-defined substitutions by name.
        dynamic: whether bash's expansions are applied.
        loose: whether a user-defined substitution that has no value is an empty text instead of a fault.

    """

    values: Mapping[str, str]
    dynamic: bool
    loose: bool
    used: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def text(self, template: str) -> str:
        """`template` with its references replaced."""
        result, position = [], 0
        while match := REFERENCE.search(template, position):
            result.append(template[position : match.start()])
            position = match.end()
            if match[0] == "$$":
                result.append("$")
            elif match[1]:
                result.append(self._value(match[1]))
            else:
                end = _closing_brace(template, position)
                if end is None:
                    result.append("${")
                    continue
                result.append(self._braced(template[position:end]))
                position = end + 1
        return "".join([*result, template[position:]])

    def _value(self, name: str) -> str:
        self.used.add(name)
        if name in self.values:
            return self.values[name]
        if name in BUILT_IN or (USER_DEFINED.fullmatch(name) and self.loose):
            return ""
        if USER_DEFINED.fullmatch(name):
            self._fault(f"the substitution {name} is used, but has no value")
        else:
            self._fault(f"{name} is no built-in substitution: write $${name} for a variable of a shell")
        return ""

    def _braced(self, inner: str) -> str:
        if re.fullmatch(r"[A-Z_][A-Z0-9_]*", inner):
            return self._value(inner)
        if not self.dynamic:
            self._fault(f"${{{inner}}} needs options.dynamicSubstitutions: true, or $${{ for a shell's own")
            return ""
        named = re.match(r"#?([A-Za-z_][A-Za-z0-9_]*)", inner)
        if named:
            self._note(named[1])
        try:
            return expand(inner, self.values, self.text)
        except ExpansionError as bad:
            self._fault(str(bad))
            return ""

    def _note(self, name: str) -> None:
        """Remember a name used in an expansion; there a missing value is what `:-` and `:+` are about."""
        self.used.add(name)
        if name not in BUILT_IN and not USER_DEFINED.fullmatch(name):
            self._fault(f"{name} is no built-in substitution: write $${{{name} for a variable of a shell")

    def _fault(self, fault: str) -> None:
        if fault not in self.faults:
            self.faults.append(fault)


def key_faults(user_defined: Mapping[str, str]) -> list[str]:
    """What is wrong with the names and sizes of user-defined substitutions."""
    faults = []
    if len(user_defined) > MOST_USER_DEFINED:
        faults.append(
            f"{len(user_defined)} substitutions are too many: at most {MOST_USER_DEFINED} are allowed"
        )
    for name, value in user_defined.items():
        if not USER_DEFINED.fullmatch(name):
            faults.append(
                f"the substitution {name} must be named with an underscore and capitals, such as _NAME"
            )
        if len(name) > LONGEST_KEY or len(value.encode()) > LONGEST_VALUE:
            faults.append(
                f"the substitution {name} is too long ({LONGEST_KEY} for names, {LONGEST_VALUE} for values)"
            )
    return faults


def resolve(values: Mapping[str, str], *, loose: bool) -> Substituter:
    """Apply bash's expansions to the values themselves, which may refer to one another in any order."""
    resolved = _Resolved(values, loose)
    final = {name: resolved[name] for name in values}
    return Substituter(final, dynamic=True, loose=loose, faults=resolved.substituter.faults)


class _Resolved(Mapping[str, str]):
    """Values that are expanded when they are first asked for, each once."""

    def __init__(self, templates: Mapping[str, str], loose: bool) -> None:
        self._templates = templates
        self._done: dict[str, str] = {}
        self._open: list[str] = []
        self.substituter = Substituter(self, dynamic=True, loose=loose)

    def __getitem__(self, name: str) -> str:
        if name in self._open:
            circle = " → ".join([*self._open[self._open.index(name) :], name])
            self.substituter.faults.append(f"substitutions refer to one another in a circle: {circle}")
            self._done.update(dict.fromkeys(self._open, ""))
            return ""
        if name not in self._done:
            template = self._templates[name]
            self._open.append(name)
            value = self.substituter.text(template)
            self._open.pop()
            self._done.setdefault(name, value)
        return self._done[name]

    def __contains__(self, name: object) -> bool:
        return name in self._templates

    def __iter__(self) -> Iterator[str]:
        return iter(self._templates)

    def __len__(self) -> int:
        return len(self._templates)


def _closing_brace(template: str, position: int) -> int | None:
    """Where the braces close that opened before `position`."""
    depth = 1
    while position < len(template):
        if template[position] == "\\":
            position += 1
        elif template.startswith("${", position):
            depth += 1
            position += 1
        elif template[position] == "}":
            depth -= 1
            if not depth:
                return position
        position += 1
    return None
