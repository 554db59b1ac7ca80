from types import SimpleNamespace
from typing import Any

import pytest

from tasks.lib.deploy import deploy
from tasks.lib.deploy.deploy import interrupted
from tasks.lib.deploy.events import Record
from tasks.lib.deploy.releases import history
from tasks.lib.deploy.releases.history import Past


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


@pytest.mark.parametrize(
    ("results", "kept"),
    [(["deployed"], True), (["killed", "deployed"], False), (["interrupted"], False), ([], False)],
    ids=["good", "killed", "interrupted", "none"],
)
def test_a_deploy_that_changes_nothing_is_kept_unless_the_newest_release_went_well(
    results: list[str], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed deploy had applied already would have no release to roll back to."""
    past = [Past(len(results) - at, {"result": result}, "") for at, result in enumerate(results)]
    monkeypatch.setattr(history, "read", lambda _api, _namespace: past)
    anything: Any = SimpleNamespace(api=None, namespace="default")

    assert deploy._is_kept(anything, anything) is kept
