"""Plain values into dataclasses or structs: what is made of good ones, and every fault of bad ones."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from tasks.lib.settings.structure import Fault, Faults, Kind, Parsed, fill


def doubled(text: object) -> int:
    if not isinstance(text, str) or not text.isdigit():
        raise ValueError("digits")
    return 2 * int(text)


@dataclass(frozen=True, kw_only=True)
class Part:
    name: Annotated[str, Meta(min_length=1)]
    weight: Annotated[int, Parsed(doubled), Meta(ge=4)] = 4


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: Annotated[list[Part], Meta(min_length=1)]
    by_name: dict[str, Part] = field(default_factory=dict)
    words: list[Annotated[str, Meta(pattern=r"^[a-z]+\Z")]] = field(default_factory=list)
    ratio: float = 1.0
    flag: bool | None = None


class StructPart(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1)]
    weight: Annotated[int, Parsed(doubled), Meta(ge=4)] = 4


class StructWhole(msgspec.Struct, frozen=True, kw_only=True):
    parts: Annotated[list[StructPart], Meta(min_length=1)]
    by_name: dict[str, StructPart] = msgspec.field(default_factory=dict)
    words: list[Annotated[str, Meta(pattern=r"^[a-z]+\Z")]] = msgspec.field(default_factory=list)
    ratio: float = 1.0
    flag: bool | None = None


@pytest.fixture(params=[(Whole, Part), (StructWhole, StructPart)], ids=["dataclasses", "structs"])
def kinds(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_good_values_become_sections_all_the_way_down(kinds: Any) -> None:
    whole, part = kinds
    values = {
        "parts": [{"name": "a", "weight": "3"}],
        "by_name": {"b": {"name": "b"}},
        "ratio": 2,
        "flag": None,
    }

    assert fill(whole, values) == whole(
        parts=[part(name="a", weight=6)], by_name={"b": part(name="b")}, ratio=2.0, flag=None
    )


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ("text", Fault((), Kind.WRONG, "text", "a section with keys")),
        ({}, Fault(("parts",), Kind.MISSING)),
        ({"parts": []}, Fault(("parts",), Kind.WRONG, [], "a list of length >= 1")),
        ({"parts": {}}, Fault(("parts",), Kind.WRONG, {}, "a list")),
        ({"parts": [3]}, Fault(("parts", "0"), Kind.WRONG, 3, "a section with keys")),
        ({"parts": [{"name": ""}]}, Fault(("parts", "0", "name"), Kind.WRONG, "", "a string of length >= 1")),
        ({"parts": [{"name": 3}]}, Fault(("parts", "0", "name"), Kind.WRONG, 3, "a string")),
        ({"parts": [{"weight": "2"}]}, Fault(("parts", "0", "name"), Kind.MISSING)),
        ({"parts": [{"name": "a", "weight": "x"}]}, Fault(("parts", "0", "weight"), Kind.WRONG, "x", "digits")),
        ({"parts": [{"name": "a", "weight": "1"}]}, Fault(("parts", "0", "weight"), Kind.WRONG, 2, "a whole number >= 4")),
        ({"parts": [{"name": "a"}], "colour": 1}, Fault(("colour",), Kind.UNKNOWN)),
        ({"parts": [{"name": "a"}], "by_name": []}, Fault(("by_name",), Kind.WRONG, [], "a mapping")),
        ({"parts": [{"name": "a"}], "by_name": {"b": {}}}, Fault(("by_name", "b", "name"), Kind.MISSING)),
        ({"parts": [{"name": "a"}], "words": ["a\n"]}, Fault(("words", "0"), Kind.WRONG, "a\n", "a string matching regex '^[a-z]+\\\\Z'")),
        ({"parts": [{"name": "a"}], "ratio": "1"}, Fault(("ratio",), Kind.WRONG, "1", "a number")),
        ({"parts": [{"name": "a"}], "flag": 1}, Fault(("flag",), Kind.WRONG, 1, "true or false or nothing")),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_its_place(kinds: Any, values: Any, fault: Fault) -> None:
    with pytest.raises(Faults) as caught:
        fill(kinds[0], values)

    assert caught.value.faults == [fault]


def test_every_fault_is_told(kinds: Any) -> None:
    with pytest.raises(Faults) as caught:
        fill(kinds[0], {"parts": [{"name": ""}, {"nam": "a"}], "ratio": "x"})

    assert {(fault.key, fault.kind) for fault in caught.value.faults} == {
        ("parts.0.name", Kind.WRONG), ("parts.1.nam", Kind.UNKNOWN), ("parts.1.name", Kind.MISSING),
        ("ratio", Kind.WRONG),
    }  # fmt: skip


def test_unknown_keys_can_be_passed_over(kinds: Any) -> None:
    whole, part = kinds
    values = {"parts": [{"name": "a", "colour": "red"}], "size": 3}

    assert fill(whole, values, forgiven=lambda _: True) == whole(parts=[part(name="a")])


def test_a_fault_is_never_passed_over_as_an_unknown_key_is(kinds: Any) -> None:
    with pytest.raises(Faults) as caught:
        fill(kinds[0], {"parts": "none", "size": 3}, forgiven=lambda _: True)

    assert [fault.key for fault in caught.value.faults] == ["parts"]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["NUL", "half of a character"])
def test_text_that_no_program_can_be_given_is_a_fault(kinds: Any, text: str) -> None:
    """YAML and JSON write it as escapes; a path, an argument or a file of it would end in a traceback."""
    with pytest.raises(Faults) as caught:
        fill(kinds[0], {"parts": [{"name": text}]})

    [fault] = caught.value.faults
    assert fault.key == "parts.0.name"
    assert fault.expected == "text without NUL and without halves of characters"


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=["NUL", "half of a character"])
def test_a_name_that_no_program_can_be_given_is_a_fault_too(name: str) -> None:
    """Such as one of a variable or of a build argument."""

    class Named(msgspec.Struct):
        held: dict[str, str]

    with pytest.raises(Faults) as caught:
        fill(Named, {"held": {name: "1", "fine": "2"}})

    [fault] = caught.value.faults
    assert (fault.key, fault.value) == ("held", name)
    assert fault.expected == "a mapping of names without NUL and without halves of characters"


def test_bytes_of_the_environment_that_are_no_utf_8_are_text(kinds: Any) -> None:
    """A path may be made of them."""
    name = b"\xff".decode(errors="surrogateescape")

    assert fill(kinds[0], {"parts": [{"name": name}]}).parts[0].name == name
