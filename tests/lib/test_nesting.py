"""Files that people write, nested so deep that reading them would end the process."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.lib.ember.site import read_manifest
from tasks.lib.errors import UsageError
from tasks.lib.nesting import DEEPEST, refuse_deep, refuse_deep_yaml
from tasks.lib.pipeline.reading import load
from tasks.lib.settings.files import read_file

# libyaml overflows the stack of a usual process at 50,000, Python's recursion ends at 1,000.
FAR = 2_000
TOO_DEEP = "It is nested more than 100 levels deep."


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("settings.yaml", read_file),
        ("settings.json", read_file),
        ("cloudbuild.yaml", load),
        ("site.yaml", read_manifest),
    ],
)
@pytest.mark.parametrize("depth", [DEEPEST, FAR])
def test_a_file_that_is_nested_too_deep_is_refused_in_words(
    tmp_path: Path, name: str, read: Callable[[Path], object], depth: int
) -> None:
    file = tmp_path / name
    file.write_text('{"a": ' + "[" * depth + "]" * depth + "}\n")

    with pytest.raises(UsageError) as caught:
        read(file)

    assert caught.value.why == TOO_DEEP


@pytest.mark.parametrize("read", [read_file, load, read_manifest])
def test_what_holds_itself_is_refused_in_words(tmp_path: Path, read: Callable[[Path], object]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("kms: &k\n  more: *k\n")

    with pytest.raises(UsageError) as caught:
        read(file)

    assert caught.value.why == "&k holds *k: it holds itself."


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEPEST + "]" * DEEPEST,
        "a: &a {b: 1}\nc: [*a, *a]\n",
        "- [1]\n" * FAR,
        "a: [",
        "",
    ],
    ids=["as deep as may be", "an anchor twice", "much and flat", "no YAML", "nothing"],
)
def test_other_texts_are_left_to_who_reads_them(text: str) -> None:
    refuse_deep_yaml(text)


def test_json_may_be_as_deep_as_yaml() -> None:
    refuse_deep(json.loads("[" * DEEPEST + "]" * DEEPEST))
    with pytest.raises(ValueError, match="more than 100 levels"):
        refuse_deep(json.loads("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)))
