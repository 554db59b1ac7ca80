"""Plain values, as YAML gives them, into classes: everything is checked and every problem is listed.

msgspec checks single values, and stops at the first problem.  This module walks through sections, lists and
mappings, and goes on after a problem.  A section is a struct of msgspec or a dataclass.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import structs

Path = tuple[str, ...]
Filled = TypeVar("Filled")
WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
SECTION = "a section with keys"
USABLE = "without NUL and without halves of characters"
SECTIONS = (SECTION, WORDS["object"])  # how a value that has keys is called


class Kind(Enum):
    """What can be wrong with a value."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    WRONG = "wrong"


class Problem(msgspec.Struct, frozen=True):
    """One problem: its place and kind, and what would be right there.

    A wrong value comes with what it should be, an unknown key with the keys that its section has.
    """

    path: Path
    kind: Kind
    value: object = None
    expected: str = ""
    known: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The dotted key of the place."""
        return ".".join(self.path)


class Parsed(msgspec.Struct, frozen=True):
    """Marks a type in `Annotated` whose values are first converted by `parse`.

    `parse` raises a ValueError that says what is allowed.
    """

    parse: Callable[[Any], object]


class _Field(msgspec.Struct, frozen=True):
    """One field of a section: its name, its type with its limits, and whether it is required."""

    name: str
    type: Any
    required: bool


class Problems(Exception):  # noqa: N818 - that is what they are
    """Everything that is wrong with the values."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(", ".join(problem.key for problem in problems))
        self.problems = problems


def fill(
    kind: type[Filled], values: object, *, ignored: Callable[[Problem], bool] = lambda _: False
) -> Filled:
    """Make a `kind` of plain values.

    Args:
        kind: a section whose fields are sections, lists or mappings of them, or what msgspec checks.
        values: what to make it of.
        ignored: which unknown keys to pass over.

    Raises Problems where all the others.
    """
    problems: list[Problem] = []
    filled = _filled(kind, values, (), problems)
    if left := [problem for problem in problems if problem.kind is not Kind.UNKNOWN or not ignored(problem)]:
        raise Problems(left)
    return filled  # type: ignore[no-any-return]


def _filled(kind: Any, value: object, path: Path, problems: list[Problem]) -> Any:
    """What `value` becomes; it is of no use once there is a problem at or below `path`."""
    bare, *notes = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    try:
        for note in notes:
            value = note.parse(value) if isinstance(note, Parsed) else value
    except ValueError as error:
        problems.append(Problem(path, Kind.WRONG, value, str(error)))
        return None
    if _is_section(bare):
        return _section(bare, value, path, problems)
    origin, parts = get_origin(bare), get_args(bare)
    if origin is list and isinstance(value, list):
        bare = list
        value = [_filled(parts[0], part, (*path, str(index)), problems) for index, part in enumerate(value)]
    elif origin is dict and isinstance(value, Mapping):
        bare = dict
        odd = (key for key in value if isinstance(key, str) and not _is_usable(key))
        problems.extend(Problem(path, Kind.WRONG, key, f"a mapping of names {USABLE}") for key in odd)
        value = {key: _filled(parts[1], part, (*path, str(key)), problems) for key, part in value.items()}
    return _checked(bare, notes, value, path, problems)


def _section(kind: Any, value: object, path: Path, problems: list[Problem]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(Problem(path, Kind.WRONG, value, SECTION))
        return None
    fields_of = {field.name: field for field in _fields(kind)}
    known = tuple(fields_of)
    problems += [Problem((*path, str(key)), Kind.UNKNOWN, known=known) for key in value if key not in known]
    missing = [name for name, field in fields_of.items() if field.required and name not in value]
    problems += [Problem((*path, name), Kind.MISSING) for name in missing]
    given = {
        name: _filled(field.type, value[name], (*path, name), problems)
        for name, field in fields_of.items()
        if name in value
    }
    return None if missing else kind(**given)


def _is_section(kind: Any) -> bool:
    return is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


@cache
def _fields(kind: Any) -> Sequence[_Field]:
    """The fields of a section."""
    if is_dataclass(kind):
        return [_Field(field.name, field.type, _has_no_default(field)) for field in fields(kind)]
    return [_Field(field.name, field.type, field.required) for field in structs.fields(kind)]


def _has_no_default(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _checked(bare: Any, notes: list[Any], value: object, path: Path, problems: list[Problem]) -> Any:
    limits = tuple(note for note in notes if isinstance(note, msgspec.Meta))
    if isinstance(value, str) and not _is_usable(value):
        problems.append(Problem(path, Kind.WRONG, value, f"text {USABLE}"))
        return None
    try:
        return msgspec.convert(value, Annotated[bare, *limits] if limits else bare)
    except msgspec.ValidationError as error:
        described = next((limit.description for limit in limits if limit.description), "")
        problems.append(Problem(path, Kind.WRONG, value, described or _in_words(str(error))))
        return None


def _is_usable(text: str) -> bool:
    """Whether a path, an argument or a file can hold a text; escapes of YAML and JSON can write more.

    Bytes of the environment that are not UTF-8 are in a text as `surrogateescape` writes them.
    """
    try:
        return b"\0" not in text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False


def _in_words(message: str) -> str:
    """What was expected, without msgspec's names of types."""
    expected = message.removeprefix("Expected ").split(", got ")[0]
    return re.sub(r"`([^`]+)`", lambda found: " or ".join(map(_word, found[1].split(" | "))), expected)


def _word(name: str) -> str:
    return WORDS.get(name, name)
