"""Substitutions: a test per rule of the documentation's page on them, and of what Google's own runner does."""

import pytest

from tasks.lib.pipeline.substitutions import Substituter, key_faults, resolve

VALUES = {"PROJECT_ID": "p", "COMMIT_SHA": "c" * 40, "_NAME": "n", "_NAME_LONG": "long", "_EMPTY": ""}


def substituter(*, loose: bool = True) -> Substituter:
    return Substituter(VALUES, loose=loose)


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
            "$(date) $1 $? 5$ $a ${ ${a} ${}", "$(date) $1 $? 5$ $a ${ ${a} ${}", id="what no substitution looks like stays"
        ),
        pytest.param("${FOO:-$_NAME}", "${FOO:-n}", id="a shell's own expansion stays, what is in it is replaced"),
    ],
)  # fmt: skip
def test_a_field_is_filled_in(template: str, expected: str) -> None:
    filling = substituter()

    assert filling.text(template) == expected
    assert filling.faults == filling.doubts == []


@pytest.mark.parametrize("template", ["${_NAME^^}", "${#_NAME}", "${_NAME/n/}", "${TAG_NAME:-x}"])
def test_an_expansion_in_a_field_stays_as_it_is_and_is_told(template: str) -> None:
    filling = substituter()

    assert filling.text(template) == template
    assert filling.faults == []
    assert filling.doubts == [
        f"{template} is left as it stands: expansions are for values of `substitutions`"
    ]


def test_a_missing_user_substitution_is_empty_only_where_that_is_allowed() -> None:
    loose, strict = substituter(loose=True), substituter(loose=False)

    assert loose.text("[$_MISSING]") == strict.text("[$_MISSING]") == "[]"
    assert loose.faults == []
    assert strict.faults == ["the substitution _MISSING is used, but has no value"]


def test_built_in_substitutions_without_a_value_are_empty_even_where_all_must_match() -> None:
    strict = substituter(loose=False)

    assert strict.text("[$REPO_NAME$REPO_FULL_NAME$BRANCH_NAME$TAG_NAME$SHORT_SHA]") == "[]"
    assert strict.faults == []


def test_an_unknown_built_in_is_a_fault_even_then() -> None:
    filling = substituter(loose=True)

    filling.text("echo $HOME ${HOME} $FOO")

    assert filling.faults == [
        "HOME is no built-in substitution: write $$HOME for a variable of a shell",
        "FOO is no built-in substitution: write $$FOO for a variable of a shell",
    ]


def resolved(value: str, *, loose: bool = True) -> Substituter:
    return resolve({**VALUES, "_VALUE": value}, loose=loose)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("$_NAME", "n", id="another one, alone"),
        pytest.param("${_NAME}", "n", id="another one in braces"),
        pytest.param("gcr.io/${PROJECT_ID}/${_NAME}", "gcr.io/p/n", id="others within a text"),
        pytest.param("${_NAME_LONG^^}-${_NAME_LONG:1:2}", "LONG-on", id="expansions"),
        pytest.param("${_MISSING:-${_NAME}}", "n", id="a default may refer to another"),
        pytest.param("${TAG_NAME:-none}", "none", id="a built-in one that has no value"),
        pytest.param("[${_MISSING}]", "[]", id="one without a value"),
        pytest.param("${_NAME_LONG/${_NAME}/g}", "logg", id="a pattern may refer to another"),
        pytest.param("${_NAME_LONG/${_MISSING:-o/n}/x}", "long", id="a slash in inner braces parts nothing"),
        pytest.param("${_NAME_LONG/\\}/x}", "long", id="an escaped brace closes nothing"),
        pytest.param("${_NAME_LONG/n/\\}}", "lo}g", id="an escaped brace is that brace"),
        pytest.param("$$_NAME $${_NAME} $$$$", "$_NAME ${_NAME} $$", id="two dollars are one"),
        pytest.param("${_MISSING:-$$x}", "$x", id="two dollars in a default"),
        pytest.param("$(body.x) $5 ${ 5$", "$(body.x) $5 ${ 5$", id="what no reference looks like stays"),
    ],
)
def test_a_value_is_expanded(value: str, expected: str) -> None:
    filling = resolved(value)

    assert filling.faults == []
    assert filling.text("$_VALUE") == expected


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("gcr.io/$PROJECT_ID/x", "within a value only braces refer to another one: write ${PROJECT_ID}"),
        ("${_EMPTY:-/$_NAME}", "within a value only braces refer to another one: write ${_NAME}"),
        ("${HOME%/}", "HOME is no built-in substitution: write $${HOME%/} for a variable of a shell"),
        ("${_NAME@Q}", "${_NAME@Q} is no parameter expansion of bash"),
        ("${!_NAME}", "${!_NAME} does not begin with a name"),
        ("x${_VALUE}", "substitutions refer to one another in a circle: _VALUE → _VALUE"),
    ],
)
def test_a_value_that_cannot_be_expanded_is_a_fault(value: str, fault: str) -> None:
    assert resolved(value).faults == [fault]


def test_a_value_without_a_value_behind_it_is_a_fault_where_all_must_match() -> None:
    assert resolved("${_MISSING}", loose=False).faults == [
        "the substitution _MISSING is used, but has no value"
    ]


@pytest.mark.parametrize(
    "operation",
    [":+x", "+x", "-x", ":?x", "?x", ": -1", ":1:-1", "^^[a-m]", "//[^a-z]/-", "/l*/x", "//n", "/#l/", "/n//x", "/n/\\}", "%[a-z]"],
)  # fmt: skip
def test_what_google_s_own_runner_reads_otherwise_than_bash_is_told(operation: str) -> None:
    filling = resolved(f"${{_NAME_LONG{operation}}}")

    assert filling.doubts == [f"Cloud Build may not read ${{_NAME_LONG{operation}}} as bash does"]


@pytest.mark.parametrize(
    "operation",
    ["", ":-x", ":=x", "^", "^^", ",", ",,", ":1", ":1:2", "#*o", "##*o", "%g", "%%n*", "/n/x", "//n/", "//\\//-", "/#l/x", "/%g/x"],
)  # fmt: skip
def test_what_it_reads_as_bash_is_not(operation: str) -> None:
    assert resolved(f"${{_NAME_LONG{operation}}}").doubts == []


def test_values_refer_to_one_another_in_any_order() -> None:
    values = {"_IMAGE": "${_HOST}/${PROJECT_ID}/${_BRANCH//\\//-}", "_HOST": "gcr.io", "PROJECT_ID": "p",
              "_BRANCH": "$BRANCH_NAME", "BRANCH_NAME": "feature/x"}  # fmt: skip

    assert resolve(values, loose=False).values["_IMAGE"] == "gcr.io/p/feature-x"


def test_a_built_in_value_is_taken_as_it_is() -> None:
    found = resolve({"BRANCH_NAME": "fix-$_A-${_A^^}-$$", "_A": "x"}, loose=False)

    assert found.faults == []
    assert found.text("$BRANCH_NAME") == "fix-$_A-${_A^^}-$$"


def test_an_escape_in_a_value_stays_one_dollar() -> None:
    resolved = resolve({"_A": "$$HOME", "_B": "$_A"}, loose=False)

    assert resolved.faults == []
    assert resolved.values == {"_A": "$HOME", "_B": "$HOME"}
    assert resolved.text("$_B") == "$HOME"


def test_values_that_refer_to_one_another_in_a_circle_are_a_fault() -> None:
    assert resolve({"_A": "x${_B}", "_B": "y${_A}"}, loose=False).faults == [
        "substitutions refer to one another in a circle: _A → _B → _A"
    ]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        pytest.param({"NAME": "x"}, "must be named with an underscore", id="no underscore"),
        pytest.param({"_name": "x"}, "must be named with an underscore and capitals", id="small letters"),
        pytest.param({"_" + "A" * 100: "x"}, "is too long", id="a name of 101 characters"),
        pytest.param({"_A": "x" * 4001}, "is too long", id="a value of 4001 characters"),
        pytest.param({"_A": "\udcff"}, "_A is no UTF-8 text", id="bytes of the command line"),
        pytest.param({f"_A{n}": "x" for n in range(201)}, "201 substitutions are too many", id="201 of them"),
    ],
)
def test_names_and_sizes_have_limits(given: dict[str, str], fault: str) -> None:
    assert fault in " ".join(key_faults(given))


def test_what_keeps_the_limits_is_no_fault() -> None:
    assert key_faults({f"_{'A' * 96}{n}": "x" * 4000 for n in range(100, 110)}) == []
