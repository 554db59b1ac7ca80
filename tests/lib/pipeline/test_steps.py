"""From file to steps: a test per rule of the documentation."""

from typing import Any

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.pipeline.reading import parse
from tasks.lib.pipeline.steps import Encrypted, ReadyBuild, needs, ready, selected


def resolved(*steps: dict[str, Any], given: dict[str, str] | None = None, **build: Any) -> ReadyBuild:
    content = {"steps": [{"name": "ubuntu", **step} for step in steps], **build}
    return ready(parse(content, "f"), given or {}, "f")


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        pytest.param(
            [None, None, None], [set(), {0}, {0, 1}], id="without waitFor a step waits for all before it"
        ),
        pytest.param([None, [], None], [set(), {0}, {0, 1}], id="an empty waitFor is none"),
        pytest.param([None, ["-"], None], [set(), set(), {0, 1}], id="a dash begins at once"),
        pytest.param([None, None, ["a"]], [set(), {0}, {0}], id="named steps alone are waited for"),
        pytest.param([["-"], ["-"], ["a", "b"]], [set(), set(), {0, 1}], id="several are waited for"),
    ],
)
def test_steps_wait_as_the_file_says(waits: list[list[str] | None], expected: list[set[int]]) -> None:
    steps = [
        {"name": "x", "id": name, **({} if wait is None else {"waitFor": wait})}
        for name, wait in zip("abc", waits, strict=False)
    ]
    build = parse({"steps": steps}, "f")

    assert [set(needs(build, index)) for index in range(len(steps))] == expected


def test_substitutions_reach_every_field_but_the_script() -> None:
    step = resolved(
        {"name": "$_N", "args": ["$_N"], "entrypoint": "$_N", "dir": "$_N", "env": ["A=$_N", "${_N}_B=1"]},
        {"script": "echo $_N $HOME"},
        substitutions={"_N": "n"},
    )

    first, second = step.steps
    assert (first.image, first.args, first.entrypoint, first.directory, first.env) == (
        "n", ["n"], "n", "/workspace/n", {"A": "n", "n_B": "1"},
    )  # fmt: skip
    assert second.script == "echo $_N $HOME"


def test_a_given_substitution_wins_over_the_file_s() -> None:
    assert resolved({"args": ["$_N"]}, substitutions={"_N": "file"}, given={"_N": "given"}).steps[0].args == [
        "given"
    ]


def test_substitutions_may_refer_to_others() -> None:
    step = resolved({"args": ["$_N", "[$_M]"]}, substitutions={"_N": "<${_O}>", "_O": "o"}).steps[0]

    assert step.args == ["<o>", "[]"]


def test_a_value_must_not_grow_beyond_the_limit() -> None:
    with pytest.raises(UsageError) as raised:
        resolved({"args": ["$_B"]}, substitutions={"_A": "x" * 1500, "_B": "${_A}${_A}${_A}"})

    assert raised.value.why == "- the substitution _B is too long (100 for names, 4000 for values)."


def test_bash_expansions_are_refused_with_an_alternative() -> None:
    with pytest.raises(UsageError) as raised:
        resolved({"args": ["$_TAG"]}, substitutions={"_TAG": "${BRANCH_NAME//x/y}"})

    assert raised.value.what == "The substitutions of f cannot be filled in."
    assert raised.value.why == (
        "- _TAG is ${BRANCH_NAME//x/y}: bash's expansions are not supported here; "
        "give the value itself, as --substitution _TAG=VALUE."
    )


def test_a_value_given_by_hand_replaces_an_expansion_of_bash() -> None:
    done = resolved({"args": ["$_TAG"]}, substitutions={"_TAG": "${BRANCH_NAME//x/y}"}, given={"_TAG": "y"})

    assert done.steps[0].args == ["y"]


def test_what_may_not_do_what_was_meant_is_passed_on() -> None:
    assert resolved({"args": ["${_N^^}"]}, substitutions={"_N": "n"}).doubts == [
        "${_N^^} is left as it is, for a shell: only ${_N} is replaced"
    ]


def test_a_step_s_variable_wins_over_the_build_s() -> None:
    step = resolved({"env": ["A=step"]}, options={"env": ["A=build", "B=build"]}).steps[0]

    assert step.env == {"A": "step", "B": "build"}


def test_mapped_substitutions_become_variables_below_the_named_ones() -> None:
    step = resolved(
        {"env": ["_N=own"]}, substitutions={"_N": "n", "_M": "m"}, given={"PROJECT_ID": "p"},
        options={"automapSubstitutions": True},
    ).steps[0]  # fmt: skip

    assert step.env == {"PROJECT_ID": "p", "_N": "own", "_M": "m"}


def test_a_step_can_leave_mapped_substitutions_out() -> None:
    done = resolved(
        {"automapSubstitutions": False}, {}, substitutions={"_N": "n"}, options={"automapSubstitutions": True}
    )

    assert [step.env for step in done.steps] == [{}, {"_N": "n"}]


@pytest.mark.parametrize(
    ("directory", "expected"),
    [("", "/workspace"), ("sub/folder", "/workspace/sub/folder"), ("/elsewhere", "/elsewhere")],
)
def test_a_folder_is_within_the_workspace_unless_absolute(directory: str, expected: str) -> None:
    assert resolved({"dir": directory}).steps[0].directory == expected


def test_global_volumes_and_secrets_reach_every_step() -> None:
    secrets = {
        "secretManager": [
            {"versionName": "projects/$PROJECT_ID/secrets/s/versions/1", "env": n} for n in "ST"
        ]
    }
    done = resolved(
        {"volumes": [{"name": "w1", "path": "/w"}], "secretEnv": ["T"]}, {"volumes": [{"name": "w1", "path": "/w2"}]},
        options={"volumes": [{"name": "v1", "path": "/v"}], "secretEnv": ["S"]},
        availableSecrets=secrets, given={"PROJECT_ID": "p"},
    )  # fmt: skip

    assert [[(v.name, v.path) for v in step.volumes] for step in done.steps] == [
        [("v1", "/v"), ("w1", "/w")], [("v1", "/v"), ("w1", "/w2")],
    ]  # fmt: skip
    assert [step.secrets for step in done.steps] == [["S", "T"], ["S"]]
    assert done.secrets["S"] == "projects/p/secrets/s/versions/1"


def test_secrets_in_the_file_are_found() -> None:
    key = "projects/$PROJECT_ID/locations/l/keyRings/r/cryptoKeys/k"
    done = resolved(
        {"secretEnv": ["S"]}, given={"PROJECT_ID": "p"},
        availableSecrets={"inline": [{"kmsKeyName": key, "envMap": {"S": "aHVzaA=="}}]},
    )  # fmt: skip

    assert done.secrets == {"S": Encrypted("projects/p/locations/l/keyRings/r/cryptoKeys/k", b"hush")}


def test_images_are_filled_in_too() -> None:
    assert resolved({}, images=["gcr.io/$PROJECT_ID/x"], given={"PROJECT_ID": "p"}).images == ["gcr.io/p/x"]


def test_steps_are_chosen_by_id_or_number() -> None:
    first, second, third = steps = resolved({"id": "a"}, {"id": "b"}, {}).steps

    assert selected(steps, start="", only="") == steps
    assert selected(steps, start="b", only="") == [second, third]
    assert selected(steps, start="2", only="") == [third]
    assert selected(steps, start="", only="a") == [first]


def test_a_missing_step_is_named_with_those_that_exist() -> None:
    steps = resolved({"id": "a"}, {}).steps

    with pytest.raises(UsageError, match="There is no step 'x'") as raised:
        selected(steps, start="x", only="")
    assert raised.value.why == "Steps: a, #1."
    with pytest.raises(UsageError, match="Both --from and --only"):
        selected(steps, start="a", only="a")


def with_defaults(**given: str) -> list[str]:
    """The arguments of a step in a file that gives built-in substitutions values."""
    content = {
        "steps": [{"name": "ubuntu", "args": ["$COMMIT_SHA", "$TAG_NAME"]}],
        "substitutions": {"COMMIT_SHA": "default", "TAG_NAME": "none"},
    }
    return list(ready(parse(content, "b.yaml"), given, "b.yaml").steps[0].args)


def test_the_trigger_wins_over_defaults_of_the_file() -> None:
    assert with_defaults() == ["default", "none"]
    assert with_defaults(COMMIT_SHA="abc", TAG_NAME="") == ["abc", "none"]


@pytest.mark.parametrize("name", ["PROJECT_ID", "BUILD_ID", "LOCATION", "lower", "OTHER"])
def test_a_file_may_not_set_the_other_built_in_substitutions(name: str) -> None:
    content = {"steps": [{"name": "ubuntu", "args": [f"${{{name}}}"]}], "substitutions": {name: "x"}}

    with pytest.raises(UsageError, match="cannot be filled in") as refused:
        ready(parse(content, "b.yaml"), {}, "b.yaml")
    assert f"the substitution {name} must be named with an underscore" in refused.value.why
