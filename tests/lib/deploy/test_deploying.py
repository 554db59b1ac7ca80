import pytest

from tasks.lib.deploy.deploying import interrupted
from tasks.lib.deploy.progress import Record


@pytest.mark.parametrize(
    ("outcome", "kept", "said"),
    [
        ("failed", "interrupted", "It was interrupted: what was applied stays, nothing is rolled back."),
        ("deployed", "deployed", "All of it is ready; the next deploy tries again to remove the rest."),
    ],
    ids=["on the way", "when all was ready"],
)
def test_an_interrupted_deploy_counts_as_deployed_once_all_is_ready(
    outcome: str, kept: str, said: str
) -> None:
    """Else a later one that fails would bring back the release before this one, which is in force."""
    record = Record("staging", outcome=outcome)

    interrupted(record)

    assert (record.outcome, record.aftermath) == (kept, [said])
