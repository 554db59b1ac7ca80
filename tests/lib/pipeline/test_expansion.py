"""Bash's parameter expansions, compared with bash itself."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.lib.pipeline.expansion import ExpansionError, expand

VALUES = {
    "_A": "feature/New-Thing.v2", "_E": "", "_P": "a.tar.gz", "_S": "  spaced  ", "_N": "0123456789", "_U": "ÄÖü",
}  # fmt: skip
EXPANSIONS = [
    "_A", "_E", "_MISSING", "#_A", "#_E", "#_U",
    "_E:-fallback", "_E-fallback", "_MISSING:-fallback", "_MISSING-fallback", "_A:-fallback", "_MISSING:-",
    "_MISSING:=given", "_MISSING=given", "_E:=given", "_A:+other", "_E:+other", "_E+other", "_MISSING+other", "_A:?no",
    "_N:3", "_N:3:2", "_N: -3", "_N: -3:2", "_N:2:-2", "_N:0", "_N:10", "_N:11", "_N:5:0", "_N: -20:2", "_N:3:99",
    "_P%.*", "_P%%.*", "_P#*.", "_P##*.", "_P%x", "_P#x", "_P%", "_P##*", "_P%%*", "_A#feature/", "_A%[0-9]", "_A##*[/-]",
    "_A/e/E", "_A//e/E", "_A/#feature/fix", "_A/%v2/v3", "_A//[^a-z0-9]/-", "_A//[!a-z0-9]/-", "_A//[[:upper:]]/_",
    "_A//e", "_A//\\//-", "_A/nothing/x", "_A///-", "_A//./_", "_A//?/x", "_A//*/x", "_A/*/x", "_A/#/x", "_A/%/x",
    "_E//*/x", "_E//?/x", "_E//x*/x", "_E//x/x",
    "_A/e/\\}", "_A/e/\\q", "_A/e/\\\\", "_A//e/\\/", "_E:-\\}", "_E:-\\q", "_E:-\\\\",
    "_A//[/.]/_", "_A/[/x", "_A//]/x", "_A//[]]/x", "_A//[a-]/x",
    "_A^", "_A^^", "_A,", "_A,,", "_A^^[a-m]", "_A,,[N]", "_U,,", "_E^^", "_A^[f]", "_A^[x]", "_S//  /x",
]  # fmt: skip


def bash(inner: str, values: dict[str, str]) -> str:
    """What bash makes of `${inner}`."""
    done = subprocess.run(
        ["bash", "-c", f'shopt -u patsub_replacement 2>/dev/null; printf %s "${{{inner}}}"'],
        env={**values, "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}, capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.decode()


@pytest.mark.parametrize("inner", EXPANSIONS)
def test_an_expansion_is_what_bash_makes_of_it(inner: str) -> None:
    assert expand(inner, VALUES, lambda word: word) == bash(inner, VALUES)


@settings(max_examples=150)
@given(
    value=st.text("abAB-./0 ", max_size=8),
    operation=st.sampled_from(["#", "##", "%", "%%", "/", "//", "/#", "/%", "^", "^^", ",", ",,"]),
    pattern=st.text("abAB-.*?0", max_size=4),
    replacement=st.sampled_from(["", "/", "/x", "/xy"]),
)
def test_any_pattern_is_what_bash_makes_of_it(
    value: str, operation: str, pattern: str, replacement: str
) -> None:
    inner = f"_V{operation}{pattern}{replacement if operation.startswith('/') else ''}"

    assert expand(inner, {"_V": value}, lambda word: word) == bash(inner, {"_V": value})


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        ("_MISSING:?must be set", "_MISSING: must be set"),
        ("_A:x", "needs numbers"),
        ("_N:5:-9", "the end lies before the start"),
        ("_A@Q", "is no parameter expansion of bash"),
        ("!_A", "does not begin with a name"),
    ],
)
def test_what_cannot_be_expanded_is_said(inner: str, why: str) -> None:
    with pytest.raises(ExpansionError, match=why):
        expand(inner, VALUES, lambda word: word)


@pytest.mark.parametrize("inner", ["_A//[z-a]/x", "_A#[z-a]", "_A%%[b-a]*", "_A^^[z-a]"])
def test_a_pattern_that_is_none_is_a_fault(inner: str) -> None:
    with pytest.raises(ExpansionError, match="has a pattern that is none"):
        expand(inner, {"_A": "abc"}, str)
