"""Plain values, as YAML gives them, into classes: the whole is checked and every fault is told.

msgspec checks single values, and stops at the first fault; the walk through sections, lists and mappings that
goes on after a fault is here.  A section is a struct of msgspec or a dataclass.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
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
GIVABLE = "without NUL and without halves of characters"
SECTIONS = (SECTION, WORDS["object"])  # how what is expected is called where keys are


class Kind(Enum):
    """What can be wrong with a value."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    WRONG = "wrong"


class Fault(msgspec.Struct, frozen=True):
    """One fault: where it is, its kind, and for a wrong value what it is and what it should be."""

    path: Path
    kind: Kind
    value: object = None
    expected: str = ""

    @property
    def key(self) -> str:
        """The dotted key of the place."""
        return ".".join(self.path)


class Parsed(msgspec.Struct, frozen=True):
    """Marks a type in `Annotated` whose values are first turned into it by `parse`.

    `parse` raises a ValueError that says what is allowed.
    """

    parse: Callable[[Any], object]


class _Field(msgspec.Struct, frozen=True):
    """One field of a section: its name, its type with what limits it, and whether it has to be given."""

    name: str
    type: Any
    required: bool


class Faults(Exception):  # noqa: N818 - that is what they are
    """Everything that is wrong with the values."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(", ".join(fault.key for fault in faults))
        self.faults = faults


def fill(
    kind: type[Filled], values: object, *, forgiven: Callable[[Fault], bool] = lambda _: False
) -> Filled:
    """Make a `kind` of plain values.

    Args:
        kind: a section whose fields are sections, lists or mappings of them, or what msgspec checks.
        values: what to make it of.
        forgiven: says whether to pass over an unknown key; other faults leave nothing to return.

    Raises:
        Faults: all the others there are.

    """
    faults: list[Fault] = []
    filled = _filled(kind, values, (), faults)
    if left := [fault for fault in faults if fault.kind is not Kind.UNKNOWN or not forgiven(fault)]:
        raise Faults(left)
    return filled  # type: ignore[no-any-return]


def _filled(kind: Any, value: object, path: Path, faults: list[Fault]) -> Any:
    """What `value` becomes; it means nothing once there is a fault at or below `path`."""
    bare, *notes = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    try:
        for note in notes:
            value = note.parse(value) if isinstance(note, Parsed) else value
    except ValueError as error:
        faults.append(Fault(path, Kind.WRONG, value, str(error)))
        return None
    if _is_section(bare):
        return _section(bare, value, path, faults)
    origin, parts = get_origin(bare), get_args(bare)
    if origin is list and isinstance(value, list):
        bare = list
        value = [_filled(parts[0], part, (*path, str(index)), faults) for index, part in enumerate(value)]
    elif origin is dict and isinstance(value, Mapping):
        bare = dict
        odd = (key for key in value if isinstance(key, str) and not _can_be_given(key))
        faults.extend(Fault(path, Kind.WRONG, key, f"a mapping of names {GIVABLE}") for key in odd)
        value = {key: _filled(parts[1], part, (*path, str(key)), faults) for key, part in value.items()}
    return _checked(bare, notes, value, path, faults)


def _section(kind: Any, value: object, path: Path, faults: list[Fault]) -> Any:
    if not isinstance(value, Mapping):
        faults.append(Fault(path, Kind.WRONG, value, SECTION))
        return None
    known = list(_fields(kind))
    names = {field.name for field in known}
    faults += [Fault((*path, str(key)), Kind.UNKNOWN) for key in value if key not in names]
    missing = [field.name for field in known if field.required and field.name not in value]
    faults += [Fault((*path, name), Kind.MISSING) for name in missing]
    given = {
        field.name: _filled(field.type, value[field.name], (*path, field.name), faults)
        for field in known
        if field.name in value
    }
    return None if missing else kind(**given)


def _is_section(kind: Any) -> bool:
    return is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def _fields(kind: Any) -> list[_Field]:
    """The fields of a section."""
    if is_dataclass(kind):
        return [_Field(field.name, field.type, _has_no_default(field)) for field in fields(kind)]
    return [_Field(field.name, field.type, field.required) for field in structs.fields(kind)]


def _has_no_default(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _checked(bare: Any, notes: list[Any], value: object, path: Path, faults: list[Fault]) -> Any:
    limits = tuple(note for note in notes if isinstance(note, msgspec.Meta))
    if isinstance(value, str) and not _can_be_given(value):
        faults.append(Fault(path, Kind.WRONG, value, f"text {GIVABLE}"))
        return None
    try:
        return msgspec.convert(value, Annotated[bare, *limits] if limits else bare)
    except msgspec.ValidationError as error:
        faults.append(Fault(path, Kind.WRONG, value, _in_words(str(error))))
        return None


def _can_be_given(text: str) -> bool:
    """Whether a path, an argument or a file can hold a text: escapes of YAML and JSON write more than that.

    Bytes of the environment that are no UTF-8 are in a text as what `surrogateescape` makes of them.
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
