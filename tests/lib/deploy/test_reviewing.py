import pytest

from tasks.lib.deploy.history import Past, pack
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.reviewing import Status, in_force, set_by
from tasks.lib.errors import ChangesFound, UsageError


def past(number: int, result: str = "deployed") -> Past:
    return Past(number, {"result": result}, "")


@pytest.mark.parametrize(
    ("newest", "number"),
    [("deployed", 3), ("failed", 3), ("failed, rolled back to 1", 1), ("failed, roll back to 1 failed", 3)],
)
def test_the_release_in_force_is_the_newest_or_the_one_brought_back(newest: str, number: int) -> None:
    assert in_force([past(3, newest), past(2, "failed"), past(1)], "staging").number == number


def test_a_killed_deploy_is_not_in_force_where_another_ended() -> None:
    assert in_force([past(3, "killed"), past(2, "failed, rolled back to 1"), past(1)], "staging").number == 1
    assert in_force([past(1, "killed")], "staging").number == 1


def test_a_release_that_was_brought_back_and_is_forgotten_is_named() -> None:
    with pytest.raises(UsageError):
        in_force([past(9, "failed, rolled back to 1")], "staging")


def test_no_drift_is_no_change() -> None:
    Status(past(1), ()).require_no_drift()
    with pytest.raises(ChangesFound):
        Status(past(1), (None,)).require_no_drift()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("newest", "kinds"),
    [
        ("deployed", ["Service", "Job"]),
        ("failed", ["Service", "Job"]),
        ("failed, rolled back to 1", ["Service"]),
    ],
)
def test_jobs_are_not_what_a_release_set_that_came_back_by_itself(newest: str, kinds: list[str]) -> None:
    wanted = [Wanted(Ref("v1", kind, "default", "x"), {"kind": kind}) for kind in ("Service", "Job")]
    releases = [Past(2, {"result": newest}, pack(wanted)), Past(1, {"result": "deployed"}, pack(wanted))]

    assert [body["kind"] for body in set_by(in_force(releases, "staging"), releases)] == kinds
