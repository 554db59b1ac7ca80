"""Whether a commit may follow the release in force."""

import pytest

from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.plan import commit_order
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings

OLD, NEW = "a" * 40, "b" * 40
SETTINGS = checked_in_settings()


def variables(commit: str) -> BuildVariables:
    return BuildVariables(commit_sha=commit, branch_name="develop", tag_name="", repo_name="", build_id="")


def past(number: int, commit: str, result: str = "deployed") -> Release:
    return Release(number, {"commit": commit, "result": result}, "")


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> None:
    """OLD is an ancestor of NEW."""
    monkeypatch.setattr(commit_order, "is_ancestor", lambda settings, commit, of: (commit, of) == (OLD, NEW))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("commit", "kept"),
    [
        (OLD, []),
        (OLD, [past(1, OLD)]),
        (NEW, [past(1, OLD)]),
        (OLD, [past(2, NEW, "failed, rolled back"), past(1, OLD)]),
        (OLD, [past(1, "")]),
    ],
    ids=["the first", "the same", "a newer one", "the newer one failed", "no commit is known"],
)
def test_a_commit_may_follow_any_that_is_not_newer(commit: str, kept: list[Release]) -> None:
    assert commit_order.check(SETTINGS, "staging", variables(commit), kept) == ()


@pytest.mark.usefixtures("history")
def test_an_older_commit_is_refused_with_both_alternatives() -> None:
    with pytest.raises(Failure, match="Commit aaaaaaa is older than what is deployed in staging") as caught:
        commit_order.check(SETTINGS, "staging", variables(OLD), [past(7, NEW)])

    assert caught.value.why == "Release 7 deployed bbbbbbb, a descendant of it."
    assert f"./inv deploy --branch develop --commit {OLD} --allow-older" in caught.value.next_step
    assert "./inv release.rollback --environment staging" in caught.value.next_step


def test_an_unknown_commit_order_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> bool:
        raise Failure("`git rev-list` exited with 128.", f"fatal: bad object {NEW}")

    monkeypatch.setattr(commit_order, "is_ancestor", unknown)

    (note,) = commit_order.check(SETTINGS, "staging", variables(OLD), [past(7, NEW)])

    assert note == (
        "Unknown whether commit aaaaaaa is older than bbbbbbb, which release 7 deployed "
        f"(fatal: bad object {NEW})."
    )
