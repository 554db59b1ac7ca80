"""Substitutions: a test per rule of the documentation's page on them, and of what Google's own runner does."""

import pytest

from tasks.lib.pipeline.substitutions import Substituter, key_problems, resolve

VALUES = {"PROJECT_ID": "p", "COMMIT_SHA": "c" * 40, "_NAME": "n", "_NAME_LONG": "long", "_EMPTY": ""}


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
        pytest.param("$${_NAME} $${_NAME:1}", "${_NAME} ${_NAME:1}", id="escaped braces are left alone"),
        pytest.param(
            "$(date) $1 $? 5$ $a ${ ${a} ${}", "$(date) $1 $? 5$ $a ${ ${a} ${}", id="what does not look like a substitution stays"
        ),
        pytest.param("${FOO:-$_NAME}", "${FOO:-n}", id="a shell's own expansion stays, what is in it is replaced"),
    ],
)  # fmt: skip
def test_a_field_is_filled_in(template: str, expected: str) -> None:
    filling = Substituter(VALUES)

    assert filling.text(template) == expected
    assert filling.problems == filling.doubts == []


@pytest.mark.parametrize("template", ["${_NAME^^}", "${#_NAME}", "${_NAME/n/}", "${_NAME:-x}"])
def test_an_expansion_in_a_field_gives_a_warning(template: str) -> None:
    filling = Substituter(VALUES)

    assert filling.text(template) == template
    assert filling.problems == []
    assert filling.doubts == [f"{template} is left as it is, for a shell: only ${{_NAME}} is replaced"]


def test_a_missing_substitution_is_empty() -> None:
    filling = Substituter(VALUES)

    assert filling.text("[$_MISSING$REPO_NAME$REPO_FULL_NAME$BRANCH_NAME$TAG_NAME$SHORT_SHA]") == "[]"
    assert filling.problems == []


def test_an_unknown_built_in_is_a_problem() -> None:
    filling = Substituter(VALUES)

    filling.text("echo $HOME ${HOME} $FOO")

    assert filling.problems == [
        "HOME is not a built-in substitution: write $$HOME for a variable of a shell",
        "FOO is not a built-in substitution: write $$FOO for a variable of a shell",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("$_NAME", "n", id="another one, alone"),
        pytest.param("${_NAME}", "n", id="another one in braces"),
        pytest.param("gcr.io/${PROJECT_ID}/${_NAME}", "gcr.io/p/n", id="others within a text"),
        pytest.param("[${_MISSING}]", "[]", id="one without a value"),
        pytest.param("$$_NAME $${_NAME} $$$$", "$_NAME ${_NAME} $$", id="two dollars are one"),
        pytest.param("$${_NAME:-x}", "${_NAME:-x}", id="an expansion for a shell"),
        pytest.param("$(body.x) $5 5$", "$(body.x) $5 5$", id="what does not look like a reference stays"),
    ],
)
def test_a_value_is_filled_in(value: str, expected: str) -> None:
    filling = resolve({**VALUES, "_VALUE": value})

    assert filling.problems == []
    assert filling.text("$_VALUE") == expected


UNSUPPORTED = (
    "bash's expansions are not supported here; give the value itself, as --substitution _VALUE=VALUE"
)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("gcr.io/$PROJECT_ID/x", "_VALUE: within a value only braces name another: ${PROJECT_ID}"),
        ("${HOME}", "HOME is not a built-in substitution: write $$HOME for a variable of a shell"),
        ("x${_VALUE}", "substitutions refer to one another in a circle: _VALUE → _VALUE"),
        *((value, f"_VALUE is {value}: {UNSUPPORTED}")
          for value in ("${_NAME:-x}", "${_NAME//a/b}", "${_NAME^^}", "x${#_NAME}", "${_A:-${_B}}", "${!_NAME}", "${")),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_filled_in_is_a_problem(value: str, problem: str) -> None:
    assert resolve({**VALUES, "_VALUE": value}).problems == [problem]


def test_values_refer_to_one_another_in_any_order() -> None:
    values = {"_IMAGE": "${_HOST}/${PROJECT_ID}/${_BRANCH}", "_HOST": "gcr.io", "PROJECT_ID": "p",
              "_BRANCH": "$BRANCH_NAME", "BRANCH_NAME": "develop"}  # fmt: skip

    assert resolve(values).values["_IMAGE"] == "gcr.io/p/develop"


def test_a_built_in_value_is_taken_as_it_is() -> None:
    found = resolve({"BRANCH_NAME": "fix-$_A-${_A^^}-$$", "_A": "x"})

    assert found.problems == []
    assert found.text("$BRANCH_NAME") == "fix-$_A-${_A^^}-$$"


def test_an_escape_in_a_value_stays_one_dollar() -> None:
    resolved = resolve({"_A": "$$HOME", "_B": "$_A"})

    assert resolved.problems == []
    assert resolved.values == {"_A": "$HOME", "_B": "$HOME"}
    assert resolved.text("$_B") == "$HOME"


def test_circular_substitutions_are_refused() -> None:
    assert resolve({"_A": "x${_B}", "_B": "y${_A}"}).problems == [
        "substitutions refer to one another in a circle: _A → _B → _A"
    ]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        pytest.param({"NAME": "x"}, "must be named with an underscore", id="no underscore"),
        pytest.param({"_name": "x"}, "must be named with an underscore and capitals", id="small letters"),
        pytest.param({"_" + "A" * 100: "x"}, "is too long", id="a name of 101 characters"),
        pytest.param({"_A": "x" * 4001}, "is too long", id="a value of 4001 characters"),
        pytest.param({"_A": "\udcff"}, "_A is not UTF-8 text", id="bytes of the command line"),
        pytest.param({f"_A{n}": "x" for n in range(201)}, "201 substitutions are too many", id="201 of them"),
    ],
)
def test_names_and_sizes_have_limits(given: dict[str, str], fault: str) -> None:
    assert fault in " ".join(key_problems(given))


def test_names_and_values_at_the_limits_are_accepted() -> None:
    assert key_problems({f"_{'A' * 96}{n}": "x" * 4000 for n in range(100, 110)}) == []
