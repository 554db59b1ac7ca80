"""What going back decides by itself; whole roll backs run in tests/e2e."""

from pathlib import Path

import pytest

from tasks.lib.cluster.gke import Connection, Found
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.events import Record, ReleaseResult
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan import plan
from tasks.lib.deploy.recovery.rollback import Request, Rollback, note_end, require_still
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.cluster.scripted import Answer, scripted, status
from tests.lib.deploy.sessions import a_session

STAGING = checked_in_settings().environment("staging")


def releases(*results: str) -> list[Release]:
    """Releases that ended so, the newest first."""
    return [Release(len(results) - at, {"result": result}, "") for at, result in enumerate(results)]


BEFORE = releases("deployed", "deployed", "deployed")


@pytest.mark.parametrize("ended", ["killed", "failed", "deployed"])
def test_a_default_rollback_stops_if_its_target_changed(ended: str) -> None:
    with pytest.raises(Failure, match="while this waited for its lock") as caught:
        require_still(Request(STAGING), BEFORE[1], releases(ended, *["deployed"] * 3))

    assert caught.value.why == "The last good release before the present one is 3 now; it was 2."
    assert caught.value.next_step == "./inv release.rollback --environment staging --to 3"


def test_a_named_or_unchanged_target_is_rolled_back_to() -> None:
    require_still(Request(STAGING, 2), BEFORE[1], releases("killed", *["deployed"] * 3))
    require_still(Request(STAGING), BEFORE[1], BEFORE)


LATER = "Everything is ready; the next deploy tries again to prune the rest."
STAYS = (
    "The rollback was interrupted: its changes were kept. "
    "To finish it: ./inv release.rollback --environment staging --to 2"
)


@pytest.mark.parametrize(
    ("before", "end", "outcome", "said"),
    [
        ("rollback failed", KeyboardInterrupt(), "rollback interrupted", [STAYS]),
        ("rollback failed", Failure("No."), "rollback failed", []),
        ("deployed", KeyboardInterrupt(), "deployed", [LATER]),
        ("deployed", Failure("No."), "deployed", [LATER]),
    ],
    ids=["interrupted", "failed", "interrupted as it removed", "failed as it removed"],
)
def test_how_a_roll_back_ended_is_kept(
    before: str, end: Failure | KeyboardInterrupt, outcome: str, said: list[str]
) -> None:
    record = Record("staging", outcome=ReleaseResult(before))

    note_end(record, end, BEFORE[1])

    assert (record.outcome, record.aftermath) == (outcome, said)


def test_a_rollback_with_missing_references_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = Ref("apps/v1", "Deployment", "default", "web")
    container = {"name": "web", "envFrom": [{"configMapRef": {"name": "settings"}}]}
    body = {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [container]}}}}
    step = Step(Wanted(ref, body), Action.CHANGE, "", body)
    monkeypatch.setattr(plan, "make", lambda *_: plan.Planned((("workloads", (step,)),), {}, {}))
    kinds = {("v1", "ConfigMap"): Kind("v1", "ConfigMap", "configmaps", namespaced=True)}
    with scripted(tmp_path) as server:
        allowed = Answer(201, body=b'{"status": {"allowed": true}}')
        gone = status(404, "NotFound", "gone")  # the note of maintenance mode, then the ConfigMap
        server.answers = [gone, allowed, gone]
        connection = Connection(Found("p", "l", "n", server.endpoint), server.api(), kinds)
        session = a_session(connection)
        request = Request(session.environment, prune=False)
        rollback = Rollback(session.settings, request, connection, BEFORE[1], session.seal)

        with pytest.raises(Failure) as caught:
            rollback.plan(session)

    assert "ConfigMap settings does not exist" in caught.value.why
