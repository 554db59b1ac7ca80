"""Cloud Build's substitutions: `$NAME`, `${NAME}` and `$$` in fields, bash's expansions in their values.

Sources: https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values, and for what it
leaves open Google's own runner, https://github.com/GoogleCloudPlatform/cloud-build-local (subst, validate).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasks.lib.pipeline.expansion import ExpansionError, expand, is_portable
from tasks.lib.pipeline.references import Reference, split

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
EXPANSION = re.compile(rf"\${{(?:#({NAME})|({NAME})(?![A-Z0-9_}}]))[^}}]*}}?")
WHERE_EXPANSIONS_GO = "expansions are for values of `substitutions`"
WHOLE_VALUE = re.compile(rf"\$({NAME})")


@dataclass
class Substituter:
    """Fills in fields, and remembers which substitutions were used and what was wrong or doubtful.

    Args:
        values: built-in and user-defined substitutions by name, with nothing left to expand.
        loose: whether a user-defined substitution that has no value is an empty text instead of a fault.

    """

    values: Mapping[str, str]
    loose: bool
    used: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def text(self, template: str) -> str:
        """`template` with its references replaced; other expansions in it are left to a shell."""
        for match in EXPANSION.finditer(template.replace("$$", "")):
            if self._is_known(match[1] or match[2]):
                note(self.doubts, f"{match[0]} is left as it stands: {WHERE_EXPANSIONS_GO}")
        return IN_FIELDS.sub(self._replaced, template)

    def _replaced(self, match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else self.value(match[1] or match[2])

    def value(self, name: str) -> str:
        """The value of one substitution."""
        self.used.add(name)
        if name in self.values:
            return self.values[name]
        if USER_DEFINED.fullmatch(name) and not self.loose:
            note(self.faults, unknown(name))
        elif not USER_DEFINED.fullmatch(name) and name not in BUILT_IN:
            note(self.faults, f"{name} is no built-in substitution: write $${name} for a variable of a shell")
        return ""

    def _is_known(self, name: str) -> bool:
        return name in self.values or name in BUILT_IN


def note(notes: list[str], text: str) -> None:
    """Add `text` to `notes`, once."""
    if text not in notes:
        notes.append(text)


def unknown(name: str) -> str:
    """The fault of a user-defined substitution without a value."""
    return f"the substitution {name} is used, but has no value"


def is_text(value: str) -> bool:
    """Whether a value is text: what the command line gives may be other bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def key_faults(given: Mapping[str, str]) -> list[str]:
    """What is wrong with the names and sizes of substitutions that a file or a person gives."""
    faults = []
    if len(given) > MOST_USER_DEFINED:
        faults.append(f"{len(given)} substitutions are too many: at most {MOST_USER_DEFINED} are allowed")
    for name, value in given.items():
        if not USER_DEFINED.fullmatch(name) and name not in WITH_DEFAULTS:
            faults.append(
                f"the substitution {name} must be named with an underscore and capitals, such as _NAME"
            )
        if not is_text(value):
            faults.append(f"the substitution {name} is no UTF-8 text")
        elif len(name) > LONGEST_KEY or len(value.encode()) > LONGEST_VALUE:
            faults.append(
                f"the substitution {name} is too long ({LONGEST_KEY} for names, {LONGEST_VALUE} for values)"
            )
    return faults


def resolve(values: Mapping[str, str], *, loose: bool) -> Substituter:
    """Apply bash's expansions to the user-defined values, which may refer to one another in any order."""
    resolved = _Resolved(values, loose)
    final = {name: resolved[name] for name in values}
    return Substituter(final, loose=loose, faults=resolved.faults, doubts=resolved.doubts)


class _Resolved(Mapping[str, str]):
    """Values that are expanded when they are first asked for, each once; built-in ones stay as they are."""

    def __init__(self, templates: Mapping[str, str], loose: bool) -> None:
        self._templates = templates
        self._loose = loose
        self._done: dict[str, str] = {}
        self._open: list[str] = []
        self.faults: list[str] = []
        self.doubts: list[str] = []

    def __getitem__(self, name: str) -> str:
        if name in self._open:
            circle = " → ".join([*self._open[self._open.index(name) :], name])
            note(self.faults, f"substitutions refer to one another in a circle: {circle}")
            self._done.update(dict.fromkeys(self._open, ""))
            return ""
        if name not in self._done:
            template = self._templates[name]
            self._open.append(name)
            value = template if name in BUILT_IN else self._expanded(template)
            self._open.pop()
            self._done.setdefault(name, value)
        return self._done[name]

    def _expanded(self, template: str) -> str:
        whole = WHOLE_VALUE.fullmatch(template)
        return self._braced(whole[1]) if whole else self._text(template)

    def _text(self, text: str) -> str:
        return "".join(
            self._braced(piece.inner) if isinstance(piece, Reference) else self._literal(piece)
            for piece in split(text)
        )

    def _literal(self, text: str) -> str:
        """Text between references: there a name without braces stays as it is, which nobody means."""
        for match in WHOLE_VALUE.finditer(text.replace("$$", "")):
            if match[1] in self or match[1] in BUILT_IN:
                note(self.faults, f"within a value only braces refer to another one: write ${{{match[1]}}}")
        return text.replace("$$", "$")

    def _braced(self, inner: str) -> str:
        named = re.match(r"#?([A-Za-z_][A-Za-z0-9_]*)", inner)
        if named:
            self._check(named[1], inner)
        if not is_portable(inner):
            note(self.doubts, f"Cloud Build may not read ${{{inner}}} as bash does")
        try:
            return expand(inner, self, self._text)
        except ExpansionError as bad:
            note(self.faults, str(bad))
            return ""

    def _check(self, name: str, inner: str) -> None:
        """Refuse a name that can have no value; a user-defined one that has none is what `:-` is about."""
        if name in self or name in BUILT_IN:
            return
        if not USER_DEFINED.fullmatch(name):
            note(
                self.faults,
                f"{name} is no built-in substitution: write $${{{inner}}} for a variable of a shell",
            )
        elif name == inner and not self._loose:
            note(self.faults, unknown(name))

    def __contains__(self, name: object) -> bool:
        return name in self._templates

    def __iter__(self) -> Iterator[str]:
        return iter(self._templates)

    def __len__(self) -> int:
        return len(self._templates)
