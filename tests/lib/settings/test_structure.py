"""Plain values into dataclasses or structs: good values are converted, every problem of bad ones is listed."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from tasks.lib.settings.structure import Kind, Parsed, Problem, Problems, fill


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
    ("values", "problem"),
    [
        ("text", Problem((), Kind.WRONG, "text", "a section with keys")),
        ({}, Problem(("parts",), Kind.MISSING)),
        ({"parts": []}, Problem(("parts",), Kind.WRONG, [], "a list of length >= 1")),
        ({"parts": {}}, Problem(("parts",), Kind.WRONG, {}, "a list")),
        ({"parts": [3]}, Problem(("parts", "0"), Kind.WRONG, 3, "a section with keys")),
        ({"parts": [{"name": ""}]}, Problem(("parts", "0", "name"), Kind.WRONG, "", "a string of length >= 1")),
        ({"parts": [{"name": 3}]}, Problem(("parts", "0", "name"), Kind.WRONG, 3, "a string")),
        ({"parts": [{"weight": "2"}]}, Problem(("parts", "0", "name"), Kind.MISSING)),
        ({"parts": [{"name": "a", "weight": "x"}]}, Problem(("parts", "0", "weight"), Kind.WRONG, "x", "digits")),
        ({"parts": [{"name": "a", "weight": "1"}]}, Problem(("parts", "0", "weight"), Kind.WRONG, 2, "a whole number >= 4")),
        ({"parts": [{"name": "a"}], "colour": 1}, Problem(("colour",), Kind.UNKNOWN, known=("parts", "by_name", "words", "ratio", "flag"))),
        ({"parts": [{"name": "a"}], "by_name": []}, Problem(("by_name",), Kind.WRONG, [], "a mapping")),
        ({"parts": [{"name": "a"}], "by_name": {"b": {}}}, Problem(("by_name", "b", "name"), Kind.MISSING)),
        ({"parts": [{"name": "a"}], "words": ["a\n"]}, Problem(("words", "0"), Kind.WRONG, "a\n", "a string matching regex '^[a-z]+\\\\Z'")),
        ({"parts": [{"name": "a"}], "ratio": "1"}, Problem(("ratio",), Kind.WRONG, "1", "a number")),
        ({"parts": [{"name": "a"}], "flag": 1}, Problem(("flag",), Kind.WRONG, 1, "true or false or nothing")),
    ],
)  # fmt: skip
def test_a_bad_value_is_reported_with_its_place(kinds: Any, values: Any, problem: Problem) -> None:
    with pytest.raises(Problems) as caught:
        fill(kinds[0], values)

    assert caught.value.problems == [problem]


def test_every_problem_is_reported(kinds: Any) -> None:
    with pytest.raises(Problems) as caught:
        fill(kinds[0], {"parts": [{"name": ""}, {"nam": "a"}], "ratio": "x"})

    assert {(problem.key, problem.kind) for problem in caught.value.problems} == {
        ("parts.0.name", Kind.WRONG), ("parts.1.nam", Kind.UNKNOWN), ("parts.1.name", Kind.MISSING),
        ("ratio", Kind.WRONG),
    }  # fmt: skip


def test_unknown_keys_can_be_ignored(kinds: Any) -> None:
    whole, part = kinds
    values = {"parts": [{"name": "a", "colour": "red"}], "size": 3}

    assert fill(whole, values, ignored=lambda _: True) == whole(parts=[part(name="a")])


def test_only_unknown_keys_can_be_ignored(kinds: Any) -> None:
    with pytest.raises(Problems) as caught:
        fill(kinds[0], {"parts": "none", "size": 3}, ignored=lambda _: True)

    assert [problem.key for problem in caught.value.problems] == ["parts"]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["NUL", "half of a character"])
def test_text_that_no_program_can_take_is_refused(kinds: Any, text: str) -> None:
    """YAML and JSON write it as escapes; as a path or an argument it would end in a traceback."""
    with pytest.raises(Problems) as caught:
        fill(kinds[0], {"parts": [{"name": text}]})

    [problem] = caught.value.problems
    assert problem.key == "parts.0.name"
    assert problem.expected == "text without NUL and without halves of characters"


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=["NUL", "half of a character"])
def test_a_name_that_no_program_can_take_is_refused(name: str) -> None:
    """Such as one of a variable or of a build argument."""

    class Named(msgspec.Struct):
        held: dict[str, str]

    with pytest.raises(Problems) as caught:
        fill(Named, {"held": {name: "1", "fine": "2"}})

    [problem] = caught.value.problems
    assert (problem.key, problem.value) == ("held", name)
    assert problem.expected == "a mapping of names without NUL and without halves of characters"


def test_environment_bytes_that_are_not_utf_8_are_text(kinds: Any) -> None:
    """A path may be made of them."""
    name = b"\xff".decode(errors="surrogateescape")

    assert fill(kinds[0], {"parts": [{"name": name}]}).parts[0].name == name
