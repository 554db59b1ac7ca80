"""How failures read, and what they exit with."""

import pytest

from tasks.lib.errors import ChangesFound, Failure, TimedOut, UsageError, all_problems, nearest


def test_a_failure_prints_what_why_and_next() -> None:
    failure = Failure("The key was refused.", "permission denied\non key k", "Ask the key owner.")

    assert str(failure) == (
        "The key was refused.\n"
        "  why:  permission denied\n"
        "        on key k\n"
        "  next: Ask the key owner."
    )  # fmt: skip


def test_empty_parts_leave_no_label() -> None:
    assert str(Failure("It broke.")) == "It broke."


@pytest.mark.parametrize(
    ("kind", "code"), [(Failure, 1), (UsageError, 2), (ChangesFound, 3), (TimedOut, 70)], ids=str
)
def test_each_kind_has_its_exit_code(kind: type[Failure], code: int) -> None:
    assert kind("x").exit_code == code


def test_all_problems_are_listed() -> None:
    assert str(all_problems("Two things are wrong.", ["a", "b"], "Mend them.")) == (
        "Two things are wrong.\n  why:  - a\n        - b\n  next: Mend them."
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("clustre", "cluster"),
        ("quotaProject", "quota_project"),
        ("QUOTA-PROJECT", "quota_project"),
        ("something", ""),
    ],
)
def test_the_nearest_name_is_suggested(name: str, meant: str) -> None:
    assert nearest(name, ["cluster", "quota_project"]) == meant
