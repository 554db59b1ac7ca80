from typing import Any

import pytest

from tasks.lib.deploy.objects import APPLIED
from tasks.lib.deploy.plan.diff import COPY, NOISE, alike, changes, notes
from tasks.lib.deploy.steps import Change


def thing(kind: str = "ConfigMap", **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "x", "resourceVersion": "1"}, **fields}


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (None, thing(), []),
        (thing(), thing(), []),
        (thing(status={"phase": "a"}), thing(status={"phase": "b"}), []),
        (thing(data={"a": "1"}), thing(data={"a": "2", "b": "3"}), ["~ data.a: 1 → 2", "+ data.b: 3"]),
        (thing(data={"a": "1"}), thing(), ["- data.a: 1"]),
        (thing(spec={"ingress": [{}]}), thing(spec={"ingress": []}), ["- spec.ingress[0]: {}"]),
        (thing(spec={"emptyDir": {}}), thing(spec={}), ["- spec.emptyDir: {}"]),
        (thing(spec={"dir": {}}), thing(spec={"dir": {"size": 1}}), ["+ spec.dir.size: 1"]),
        (thing(metadata={"annotations": {}}), thing(metadata={}), []),
        (
            thing(spec={"containers": [{"name": "uwsgi", "image": "a"}, {"name": "side", "image": "s"}]}),
            thing(spec={"containers": [{"name": "side", "image": "s"}, {"name": "uwsgi", "image": "b"}]}),
            ["~ spec.containers[uwsgi].image: a → b"],
        ),
        (thing(spec={"args": ["a", "b"]}), thing(spec={"args": ["a"]}), ["- spec.args[1]: b"]),
        (thing(data={"a": "1"}), thing(data={"a": "x" * 200}), [f"~ data.a: 1 → {'x' * 119}…"]),
        (
            thing("Secret", data={"password": "b2xk", "gone": "eA=="}),
            thing("Secret", data={"password": "bmV3"}),
            ["- data.gone: [redacted]", "~ data.password: [redacted] → [redacted]"],
        ),
    ],
    ids=[
        "new",
        "same",
        "status only",
        "value",
        "key removed",
        "an empty rule",
        "an empty map",
        "filled",
        "no annotations",
        "by name",
        "by place",
        "long",
        "secret",
    ],
)
def test_every_field_that_differs_is_told_and_no_secret_value(
    before: dict[str, Any] | None, after: dict[str, Any], lines: list[str]
) -> None:
    assert [str(change) for change in changes(before, after)] == lines


def test_our_own_fingerprints_are_no_difference() -> None:
    marked = {"kind": "ConfigMap", "metadata": {"annotations": {"lookit-orchestrator/applied": "abc"}}}
    assert changes(marked, {"kind": "ConfigMap", "metadata": {}}) == []


@pytest.mark.parametrize("noise", sorted(NOISE))
def test_server_side_metadata_is_no_difference(noise: str) -> None:
    before, after = ({"kind": "ConfigMap", "metadata": {noise: value}} for value in ("a", "b"))
    assert changes(before, after) == []


def test_kubectls_copy_of_an_object_is_never_shown() -> None:
    copy = {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"password": "Y2FuYXJ5"}}'}
    before = {"kind": "Secret", "metadata": {"name": "env", "annotations": copy}}
    assert changes(before, {"kind": "Secret", "metadata": {"name": "env"}}) == []


def test_a_change_of_annotations_alone_names_kubectls_copy_only() -> None:
    before, after = (
        {"kind": "ConfigMap", "metadata": {"annotations": noted}}
        for noted in ({APPLIED: "a" * 64, COPY: "canary"}, {APPLIED: "b" * 64, "other": "x"})
    )
    assert [str(change) for change in notes(before, after)] == [
        f"- metadata.annotations.{COPY}: [redacted]",
        "~ metadata.annotations.lookit-orchestrator/applied: aaaaaaaaaaaa → bbbbbbbbbbbb",
    ]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (Change("data.a", "1", "2"), ["~ data.a: 1 → 2"]),
        (Change("data.a", None, "x\ny"), ["+ data.a:", "    x", "    y"]),
        (Change("data.a", "x\ny\n", None), ["- data.a:", "    x", "    y"]),
        (Change("data.a", "x\ny", "z"), ["~ data.a:", "    x", "    y", "  →", "    z"]),
        (Change("data.a", "", "x\ny"), ["~ data.a:", "  →", "    x", "    y"]),
    ],
    ids=["short", "added", "removed", "changed", "was empty"],
)
def test_a_longer_text_is_indented_below_its_field(change: Change, lines: list[str]) -> None:
    assert change.lines == lines


def env(name: str, before: str | None = "old", after: str | None = "new") -> Change:
    return Change(f"env[{name}].from.name", before, after)


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ([env("a"), env("b"), env("c"), env("d")], [4]),
        ([env("a"), env("b"), env("c")], [1, 1, 1]),
        ([env("a"), env("b"), env("c"), env("d", "other")], [1, 1, 1, 1]),
        ([env(name, None) for name in "abcd"], [1, 1, 1, 1]),
        ([env(name, "old", None) for name in "abcd"], [1, 1, 1, 1]),
        ([Change(f"data.{name}", "old", "new") for name in "abcd"], [1, 1, 1, 1]),
    ],
    ids=["many alike", "few", "one from another value", "added", "removed", "of no list"],
)
def test_equal_changes_of_list_items_are_grouped(changes: list[Change], sizes: list[int]) -> None:
    assert [len(group) for group in alike(changes)] == sizes
