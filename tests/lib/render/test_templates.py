"""Filling in templates."""

from pathlib import Path

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.render.templates import fill, fill_tree, problems_in

VARIABLES = {"COMMIT_SHA": "abc", "TAG_NAME": "v1", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("tag: $COMMIT_SHA", "tag: abc"),
        ("tag: ${COMMIT_SHA}-${TAG_NAME}", "tag: abc-v1"),
        ("$TAG_NAME.x", "v1.x"),
        ("price: $$5, $$HOME, $${HOME}", "price: $5, $HOME, ${HOME}"),
        ("env: $(MY_POD_NAME)", "env: $(MY_POD_NAME)"),
        ("rewrite: /bucket/$1/$3 and a lone $", "rewrite: /bucket/$1/$3 and a lone $"),
        ("nothing", "nothing"),
    ],
    ids=["plain", "braced", "ends at a dot", "escaped", "Kubernetes' own", "no name follows", "no reference"],
)
def test_fill(text: str, filled: str) -> None:
    assert problems_in(text, VARIABLES) == []
    assert fill(text, VARIABLES) == filled


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a: 1\nb: $COMMIT", [(2, "$COMMIT is not declared; write $$ for a literal dollar")]),
        ("a: ${NOPE}", [(1, "${NOPE} is not declared; write $$ for a literal dollar")]),
        ("a: $EMPTY", [(1, "$EMPTY is empty")]),
        ("a: ${TAG_NAME:-x}", [(1, "${TAG_NAME:-x} is not understood; use $NAME, ${NAME} or $$ (a dollar)")]),
        ("a: ${", [(1, "${ is not understood; use $NAME, ${NAME} or $$ (a dollar)")]),
        ("$X\n\n$EMPTY", [(1, "$X is not declared; write $$ for a literal dollar"), (3, "$EMPTY is empty")]),
    ],
    ids=["undeclared", "undeclared, braced", "empty", "bash default", "unclosed", "several"],
)  # fmt: skip
def test_problems_name_the_line(text: str, faults: list[tuple[int, str]]) -> None:
    assert problems_in(text, VARIABLES) == faults


def test_a_tree_is_filled_in_place_of_its_defaults(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("tag: unreleased\n")
    (folder / "kustomization.template.yaml").write_text("tag: $COMMIT_SHA\n")

    fill_tree(tmp_path, VARIABLES)
    assert (folder / "kustomization.yaml").read_text() == "tag: abc\n"
    assert [path.name for path in folder.iterdir()] == ["kustomization.yaml"]


def test_a_link_where_a_template_is_written_is_replaced(tmp_path: Path) -> None:
    original, copy = tmp_path / "default.yaml", tmp_path / "copy"
    original.write_text("tag: unreleased\n")
    copy.mkdir()
    (copy / "a.yaml").symlink_to(original)
    (copy / "a.template.yaml").write_text("tag: $COMMIT_SHA\n")

    fill_tree(copy, VARIABLES)
    assert (copy / "a.yaml").read_text() == "tag: abc\n"
    assert original.read_text() == "tag: unreleased\n"


def test_problems_of_all_templates_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.template.yaml").write_text("x: $NOPE\n")
    (tmp_path / "b.template.yaml").write_text("y: $EMPTY\n")

    with pytest.raises(UsageError) as caught:
        fill_tree(tmp_path, VARIABLES)

    assert caught.value.why.splitlines() == [
        "- a.template.yaml:1: $NOPE is not declared; write $$ for a literal dollar",
        "- b.template.yaml:1: $EMPTY is empty",
    ]
    assert caught.value.next_step == "Declared variables: $COMMIT_SHA, $EMPTY, $TAG_NAME."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.template.yaml", "b.template.yaml"]


def test_a_template_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.template.yaml").write_bytes(b"x: \xff\n")

    with pytest.raises(UsageError) as caught:
        fill_tree(tmp_path, VARIABLES)
    assert caught.value.why == "- a.template.yaml: not UTF-8 text (invalid start byte)"


@pytest.mark.parametrize("target", ["../host.yaml", "absolute", "nowhere.yaml"])
def test_template_links_out_of_the_tree_are_refused(tmp_path: Path, target: str) -> None:
    outside, copy = tmp_path / "host.yaml", tmp_path / "copy"
    outside.write_text("password: canary\n")
    copy.mkdir()
    (copy / "leak.template.yaml").symlink_to(outside if target == "absolute" else target)

    with pytest.raises(UsageError) as caught:
        fill_tree(copy, VARIABLES)

    assert caught.value.why.startswith("- leak.template.yaml: ")
    assert not (copy / "leak.yaml").exists()


def test_template_links_within_the_tree_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("tag: $COMMIT_SHA\n")
    (tmp_path / "a.template.yaml").symlink_to("real")

    fill_tree(tmp_path, VARIABLES)
    assert (tmp_path / "a.yaml").read_text() == "tag: abc\n"
