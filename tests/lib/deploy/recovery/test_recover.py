"""What is done after a failed deploy; whole recoveries run in tests/e2e."""

import pytest

from tasks.lib.deploy.events import ReleaseResult
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.recovery import recover
from tests.lib.deploy.sessions import a_session

NOTHING = Planned((), {}, {})


@pytest.mark.parametrize(
    ("outcome", "kept", "said"),
    [
        ("failed", "interrupted", "The deploy was interrupted: changes were kept, nothing is rolled back."),
        ("deployed", "deployed", "Everything is ready; the next deploy tries again to prune the rest."),
    ],
    ids=["on the way", "when all was ready"],
)
def test_an_interrupted_deploy_counts_as_deployed_once_all_is_ready(
    outcome: str, kept: str, said: str
) -> None:
    """Else a later one that fails would bring back the release before this one, which is in force."""
    session = a_session()
    session.record.outcome = ReleaseResult(outcome)

    recover.after(session, NOTHING, KeyboardInterrupt(), roll_back=True, evidence="")

    assert (session.record.outcome, session.record.aftermath) == (kept, [said])
