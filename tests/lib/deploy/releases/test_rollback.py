"""What going back decides by itself; whole roll backs run in tests/e2e."""

import pytest

from tasks.lib.deploy.events import Record
from tasks.lib.deploy.releases.history import Past
from tasks.lib.deploy.releases.rollback import Request, note_end, require_still
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings

STAGING = checked_in_settings().environment("staging")


def releases(*results: str) -> list[Past]:
    """Releases that ended so, the newest first."""
    return [Past(len(results) - at, {"result": result}, "") for at, result in enumerate(results)]


BEFORE = releases("deployed", "deployed", "deployed")


@pytest.mark.parametrize("ended", ["killed", "failed", "deployed"])
def test_a_release_that_nobody_named_is_not_brought_back_where_another_is_meant_by_now(ended: str) -> None:
    with pytest.raises(Failure, match="while this waited for its lock") as caught:
        require_still(Request(STAGING), BEFORE[1], releases(ended, *["deployed"] * 3))

    assert caught.value.why == "The last good release before the present one is 3 now; it was 2."
    assert caught.value.next_step == "./inv release.rollback --environment staging --to 3"


def test_one_that_was_named_is_and_so_is_one_that_is_still_meant() -> None:
    require_still(Request(STAGING, 2), BEFORE[1], releases("killed", *["deployed"] * 3))
    require_still(Request(STAGING), BEFORE[1], BEFORE)


LATER = "All of it is ready; the next deploy tries again to remove the rest."
STAYS = (
    "It was interrupted: what was brought back stays. "
    "For the rest: ./inv release.rollback --environment staging --to 2"
)


@pytest.mark.parametrize(
    ("before", "end", "outcome", "said"),
    [
        ("roll back failed", KeyboardInterrupt(), "roll back interrupted", [STAYS]),
        ("roll back failed", Failure("No."), "roll back failed", []),
        ("deployed", KeyboardInterrupt(), "deployed", [LATER]),
        ("deployed", Failure("No."), "deployed", [LATER]),
    ],
    ids=["interrupted", "failed", "interrupted as it removed", "failed as it removed"],
)
def test_how_a_roll_back_ended_is_kept(
    before: str, end: Failure | KeyboardInterrupt, outcome: str, said: list[str]
) -> None:
    record = Record("staging", outcome=before)

    note_end(record, end, BEFORE[1])

    assert (record.outcome, record.aftermath) == (outcome, said)
