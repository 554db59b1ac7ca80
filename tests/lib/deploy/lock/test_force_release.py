"""Whose lock is released where another takes it meanwhile; tests/e2e/test_lock.py releases real ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.deploy.lock.force_release import give_up
from tasks.lib.deploy.lock.holder import Claim
from tasks.lib.deploy.lock.lease import Lock
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.cluster.scripted import Answer, Scripted, scripted, status

CHANGED = status(409, "Conflict", "the ResourceVersion in the precondition does not match")
GONE = status(404, "NotFound", "gone")


def a_lease(holder: str, version: str, since: str = "2026-01-02T03:04:05.000000Z") -> Answer:
    metadata = {"name": "lookit-orchestrator", "namespace": "default", "uid": "1", "resourceVersion": version}
    lease = {"metadata": metadata, "spec": {"holderIdentity": holder, "acquireTime": since}}
    return Answer(body=json.dumps(lease).encode())


def given_up(server: Scripted, *answers: Answer) -> Any:
    server.answers = list(answers)
    environment = checked_in_settings().environment("staging")
    return give_up(Lock(server.api(), environment, Claim("me")))


def preconditions(server: Scripted) -> list[dict[str, str]]:
    return [json.loads(one.body)["preconditions"] for one in server.asked if one.method == "DELETE"]


def test_the_very_lease_that_was_looked_at_is_given_up(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        lease = given_up(server, a_lease("dead", "7"), Answer())

        assert lease["spec"]["holderIdentity"] == "dead"
        assert preconditions(server) == [{"uid": "1", "resourceVersion": "7"}]


def test_a_force_release_ignores_renewals_and_waiters(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        given_up(server, a_lease("dead", "7"), CHANGED, a_lease("dead", "8"), Answer())

        assert [one["resourceVersion"] for one in preconditions(server)] == ["7", "8"]


@pytest.mark.parametrize(
    "other",
    [a_lease("alive", "8"), a_lease("dead", "8", since="2026-01-02T04:00:00.000000Z")],
    ids=["by another", "by the same once more"],
)
def test_a_lock_that_was_taken_over_meanwhile_is_kept(tmp_path: Path, other: Answer) -> None:
    with scripted(tmp_path) as server:
        with pytest.raises(Failure, match="took the lock over") as caught:
            given_up(server, a_lease("dead", "7"), CHANGED, other)

        assert "since 2026-01-02T0" in caught.value.why
        assert len(preconditions(server)) == 1


@pytest.mark.parametrize(
    "answers", [[GONE], [a_lease("dead", "7"), CHANGED, GONE]], ids=["before", "meanwhile"]
)
def test_a_lock_released_by_its_holder_needs_nothing(tmp_path: Path, answers: list[Answer]) -> None:
    with scripted(tmp_path) as server:
        assert given_up(server, *answers) is None


def test_a_lease_deleted_meanwhile_counts_as_released(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:  # the answer to our own request may have been lost
        assert given_up(server, a_lease("dead", "7"), GONE)["spec"]["holderIdentity"] == "dead"
