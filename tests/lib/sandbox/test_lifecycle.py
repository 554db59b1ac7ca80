"""When a component counts as one that keeps ending, and what is said of a sandbox that is not there."""

from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.sandbox import lifecycle, report, watching
from tasks.lib.sandbox.state import State
from tasks.lib.sandbox.watching import Status


@pytest.mark.parametrize(
    ("starts", "crashes"),
    [([1, 1], 0), ([0, 1, 2], 2), ([7, 8], 1), ([7, 1, 2], 1)],
    ids=[
        "steady",
        "crashing since it began",
        "crashed long ago, and once now",
        "a new supervisor counts anew",
    ],
)
def test_only_crashes_since_up_was_asked_for_count(starts: list[int], crashes: int) -> None:
    before: dict[str, int] = {}

    counted = [lifecycle.crashes(Status("etcd", 0, 0, number, "not running"), before) for number in starts]

    assert counted[-1] == crashes


def test_a_sandbox_that_never_was_is_down_already(tmp_path: Path) -> None:
    assert lifecycle.down(State(tmp_path / "none"), keep_data=False) == 0
    assert not (tmp_path / "none").exists()


def test_the_status_of_no_sandbox_is_a_failure_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failure:
        report.require_well(watching.status(State(tmp_path)))

    assert failure.value.why == "supervisor: not running"
    assert failure.value.next_step == "./inv sandbox.up"


def test_logs_of_no_sandbox_say_that_none_is_up(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="There is no component 'kms' in this sandbox.") as failure:
        watching.logs(State(tmp_path), "kms")

    assert failure.value.why == "No sandbox is up."
