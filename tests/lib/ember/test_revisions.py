"""Revisions as values: which there are, which come next, which may go."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.lib.ember import revisions
from tasks.lib.ember.revisions import Revision
from tasks.lib.errors import UsageError

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def aged(**days: int) -> list[Revision]:
    return [Revision(name, NOW - timedelta(days=age), 1, 1, 1) for name, age in days.items()]


@pytest.mark.parametrize(
    ("history", "keep", "days", "gone"),
    [
        (["a"], 0, 0, ["d", "c", "b"]),
        (["a", "b"], 0, 0, ["d", "c"]),
        (["d", "c"], 0, 0, ["b", "a"]),
        (["a"], 2, 0, ["d", "c"]),
        (["a"], 0, 25, ["d"]),
        ([], 1, 0, ["d", "c", "b"]),
        (["a", "pruned-before", "c"], 0, 0, ["d", "b"]),
        (["a", "b", "c", "d"], 0, 0, ["d", "c"]),
        (["a"], 9, 0, []),
    ],
)
def test_what_pruning_spares(history: list[str], keep: int, days: int, gone: list[str]) -> None:
    found = revisions.prunable(aged(a=1, b=10, c=20, d=30), history, keep, timedelta(days=days), NOW)
    assert [one.name for one in found] == gone


def test_rolling_back_passes_over_what_is_not_there() -> None:
    assert revisions.rolled_back(["c", "b", "a"], {"a", "c"}) == ["a"]
    assert revisions.rolled_back(["c", "b"], {"c"}) == []


def test_a_history_begins_with_what_is_active_and_forgets() -> None:
    assert revisions.activated(["b", "a"], "b") == ["b", "a"]
    assert revisions.activated(["b", "a"], "a") == ["a", "b", "a"]
    assert len(revisions.activated([str(n) for n in range(99)], "x")) == revisions.REMEMBERED


def test_a_revision_may_be_named_by_its_beginning() -> None:
    names = ["aa11", "aa22", "bb33"]
    assert revisions.known(names, "b") == "bb33"
    with pytest.raises(UsageError, match="More than one revision begins with 'aa'"):
        revisions.known(names, "aa")
    with pytest.raises(UsageError, match="There is no revision 'cc'"):
        revisions.known(names, "cc")


@pytest.mark.parametrize("more", [[], ["00ff"], ["00ff", True]], ids=["neither", "a digest", "both"])
def test_manifests_of_earlier_versions_are_understood(more: list[object]) -> None:
    entry = revisions._entry("a.js", [3, "00ff", "text/javascript", "no-cache", True, *more])
    assert (entry.path, entry.size, entry.crc32c) == ("a.js", 3, 0xFF)
    assert entry.digest == (b"\x00\xff" if more else b"")
    assert entry.shared is (len(more) == 2)
