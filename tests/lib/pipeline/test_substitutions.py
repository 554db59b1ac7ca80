"""Substitutions: a test per rule of the documentation's page on them."""

import pytest

from tasks.lib.pipeline.substitutions import Substituter, key_faults, resolve

VALUES = {"PROJECT_ID": "p", "COMMIT_SHA": "c" * 40, "_NAME": "n", "_NAME_LONG": "long", "_EMPTY": ""}


def substituter(*, dynamic: bool = True, loose: bool = True) -> Substituter:
    return Substituter(VALUES, dynamic=dynamic, loose=loose)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("gcr.io/$PROJECT_ID/x", "gcr.io/p/x", id="a built-in substitution"),
        pytest.param("${_NAME}-x", "n-x", id="in braces"),
        pytest.param("$_NAME-x", "n-x", id="a name ends where it must"),
        pytest.param("$_NAME_LONG", "long", id="the longest name is meant"),
        pytest.param("${_NAME}_LONG", "n_LONG", id="braces part a name from what follows"),
        pytest.param("$TAG_NAME.", ".", id="a default that is not available is empty"),
        pytest.param("$$PATH $$_NAME", "$PATH $_NAME", id="two dollars are one, literally"),
        pytest.param("$$$_NAME", "$n", id="an escape before a reference"),
        pytest.param("$$$$", "$$", id="two escapes"),
        pytest.param("$${_NAME}", "${_NAME}", id="escaped braces are left alone"),
        pytest.param(
            "$(date) $1 $? 5$ $a ${", "$(date) $1 $? 5$ $a ${", id="what no substitution looks like stays"
        ),
        pytest.param("${_MISSING:-${_NAME}}", "n", id="a default may refer to another"),
        pytest.param("${_NAME_LONG^^}", "LONG", id="an expansion in a field"),
        pytest.param("${_NAME_LONG/${_NAME}/g}", "logg", id="a pattern may refer to another"),
        pytest.param("${_NAME_LONG/${_MISSING:-o/n}/x}", "long", id="a slash in inner braces parts nothing"),
        pytest.param("${_NAME_LONG/\\}/x}", "long", id="an escaped brace closes nothing"),
    ],
)
def test_a_template_is_filled_in(template: str, expected: str) -> None:
    filling = substituter()

    assert filling.text(template) == expected
    assert filling.faults == []


def test_a_missing_user_substitution_is_empty_only_where_that_is_allowed() -> None:
    loose, strict = substituter(loose=True), substituter(loose=False)

    assert loose.text("[$_MISSING]") == strict.text("[$_MISSING]") == "[]"
    assert loose.faults == []
    assert strict.faults == ["the substitution _MISSING is used, but has no value"]


def test_an_unknown_built_in_is_a_fault_even_then() -> None:
    filling = substituter(loose=True)

    filling.text("echo $HOME ${HOME} ${HOME%/}")

    assert filling.faults == [
        "HOME is no built-in substitution: write $$HOME for a variable of a shell",
        "HOME is no built-in substitution: write $${HOME for a variable of a shell",
    ]


def test_expansions_need_dynamic_substitutions() -> None:
    filling = substituter(dynamic=False)

    filling.text("${_NAME^^}")

    assert filling.faults == ["${_NAME^^} needs options.dynamicSubstitutions: true, or $${ for a shell's own"]


def test_a_bad_expansion_is_a_fault() -> None:
    filling = substituter()

    filling.text("${_NAME@Q}")

    assert filling.faults == ["${_NAME@Q} is no parameter expansion of bash"]


def test_braces_without_a_name_are_a_fault() -> None:
    filling = substituter()

    assert filling.text("${!_NAME}") == ""

    assert filling.faults == ["${!_NAME} does not begin with a name"]


def test_values_refer_to_one_another_in_any_order() -> None:
    values = {"_IMAGE": "${_HOST}/$PROJECT_ID/${_BRANCH//[^a-z0-9]/-}", "_HOST": "gcr.io", "PROJECT_ID": "p",
              "_BRANCH": "$BRANCH_NAME", "BRANCH_NAME": "feature/x"}  # fmt: skip

    assert resolve(values, loose=False).values["_IMAGE"] == "gcr.io/p/feature-x"


def test_an_escape_in_a_value_stays_one_dollar() -> None:
    resolved = resolve({"_A": "$$HOME", "_B": "$_A"}, loose=False)

    assert resolved.faults == []
    assert resolved.values == {"_A": "$HOME", "_B": "$HOME"}
    assert resolved.text("$_B") == "$HOME"


def test_values_that_refer_to_one_another_in_a_circle_are_a_fault() -> None:
    assert resolve({"_A": "x$_B", "_B": "y$_A"}, loose=False).faults == [
        "substitutions refer to one another in a circle: _A → _B → _A"
    ]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        pytest.param({"NAME": "x"}, "must be named with an underscore", id="no underscore"),
        pytest.param({"_name": "x"}, "must be named with an underscore and capitals", id="small letters"),
        pytest.param({"_" + "A" * 100: "x"}, "is too long", id="a name of 101 characters"),
        pytest.param({"_A": "x" * 4001}, "is too long", id="a value of 4001 characters"),
        pytest.param({f"_A{n}": "x" for n in range(201)}, "201 substitutions are too many", id="201 of them"),
    ],
)
def test_names_and_sizes_have_limits(given: dict[str, str], fault: str) -> None:
    assert fault in " ".join(key_faults(given))


def test_what_keeps_the_limits_is_no_fault() -> None:
    assert key_faults({f"_{'A' * 96}{n}": "x" * 4000 for n in range(100, 110)}) == []
