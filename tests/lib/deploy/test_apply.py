import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.lib.cluster.api import Api, Json, Patience
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.apply import Writer
from tasks.lib.deploy.events import Event, Record, Result, Told
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan import takeover
from tasks.lib.deploy.plan.field_managers import Conflict
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure
from tests.clock import Clock
from tests.lib.cluster.scripted import Answer, Scripted, scripted, status

KINDS = {("v1", "Service"): Kind("v1", "Service", "services", namespaced=True)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Scripted]:
    with scripted(tmp_path) as served:
        yield served


def steps(count: int) -> list[Step]:
    refs = [Ref("v1", "Service", "staging", f"one-{number}") for number in range(count)]
    return [Step(Wanted(ref, {}), Action.CREATE, "", {"metadata": {"name": ref.name}}) for ref in refs]


def test_the_first_refusal_keeps_later_objects_from_being_sent(server: Scripted) -> None:
    server.answers = [*[Answer()] * 20, status(422, "Invalid", "no")]
    due, record = steps(40), Record("staging")
    record.plan("phase", due)
    writer = Writer(server.patient_api(), KINDS, {}, [], record, lambda event: None, 30)

    with pytest.raises(ApiError, match="The cluster refused to apply Service one-"):
        writer.apply(due)

    results = [row.result for row in record.rows.values()]
    assert results.count(Result.APPLIED) == 20
    assert 1 <= results.count(Result.FAILED) <= CONNECTIONS
    assert results.count(Result.NOT_REACHED) == len(due) - len({asked.path for asked in server.asked})


@pytest.mark.parametrize(
    "fault",
    [status(429, "TooManyRequests", "later"), status(503, "ServiceUnavailable", "starting"), Answer(0)],
    ids=["overloaded", "starting", "dropped"],
)
def test_temporary_errors_are_retried_until_every_object_is_applied(server: Scripted, fault: Answer) -> None:
    server.answers = [*[Answer()] * 10, fault, *[Answer()] * 10, fault, Answer(body=b'{"stored": true}')]
    due, record, told = steps(40), Record("staging"), list[Event]()
    record.plan("phase", due)

    done = Writer(server.patient_api(), KINDS, {}, [], record, told.append, 30).apply(due)

    assert done.keys() == {step.ref for step in due}
    assert {row.result for row in record.rows.values()} == {"applied"}
    assert sorted(event.ref for event in told if isinstance(event, Told)) == sorted(done)
    assert all(row.seconds is not None for row in record.rows.values())


def test_objects_of_kubectl_are_taken_over_first(server: Scripted) -> None:
    server.answers = [Answer()]
    record = Record("staging")
    due = steps(3)
    record.plan("phase", due)
    theirs = {"manager": "kubectl", "operation": "Update", "apiVersion": "v1", "time": "then", "fieldsV1": {}}
    metadata = {"resourceVersion": "7", "managedFields": [theirs]}
    live = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    due[0] = replace(due[0], action=Action.CHANGE, live=live)

    Writer(server.patient_api(), KINDS, {}, ["kubectl"], record, lambda event: None, 30).apply(due)

    taken = [asked for asked in server.asked if asked.path.partition("?")[0].endswith("/one-0")]
    assert [asked.headers["Content-Type"] for asked in taken] == [
        "application/json-patch+json",
        "application/apply-patch+yaml",
    ]
    assert len(server.asked) == len(due) + 1


def conflict(**managers: str) -> Answer:
    """The refusal of an apply because of fields, each named by its manager."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}" using v1', "field": f".spec.{field}"}
        for field, manager in managers.items()
    ]  # fmt: skip
    return status(409, "Conflict", "Apply failed", causes=causes)


def forced(server: Scripted, *, asked: bool = True) -> dict[Ref, Json]:
    """Apply a Service of which .spec.type may be asked for, and what kubectl applied is ours anyway."""
    record, due = Record("staging"), steps(1)
    record.plan("phase", due)
    known = {due[0].ref: (Conflict(due[0].ref, ".spec.type", "somebody"),)} if asked else {}
    return Writer(server.api(), KINDS, known, ["kubectl"], record, lambda event: None, 30).apply(due)


@pytest.mark.parametrize(
    "managers",
    [{"type": "somebody"}, {"type": "somebody else"}, {"ports": "kubectl", "type": "somebody"}],
    ids=["as in the dry run", "another manager since", "a predecessor's too"],
)
def test_a_field_that_was_named_is_taken_over(server: Scripted, managers: dict[str, str]) -> None:
    server.answers = [conflict(**managers), Answer(body=b'{"stored": true}')]

    assert list(forced(server).values()) == [{"stored": True}]
    assert ["force=true" in asked.path for asked in server.asked] == [False, True]


def test_nothing_is_forced_where_the_conflict_is_gone(server: Scripted) -> None:
    server.answers = [Answer(body=b'{"stored": true}')]

    assert list(forced(server).values()) == [{"stored": True}]
    assert ["force=true" in asked.path for asked in server.asked] == [False]


def test_a_field_changed_since_the_dry_run_is_not_forced(server: Scripted) -> None:
    server.answers = [conflict(type="somebody", ports="somebody else")]

    with pytest.raises(Failure) as caught:
        forced(server)

    assert caught.value.what == "Service one-0 was changed by somebody else during this deploy."
    assert caught.value.why == "Service one-0: .spec.ports is managed by somebody else"
    assert "--force-conflicts Service/one-0:.spec.ports" in caught.value.next_step
    assert len(server.asked) == 1


@pytest.mark.parametrize("dying", [False, True], ids=["deleted by us", "deleted by somebody else"])
def test_nothing_is_recreated_after_the_lock_was_lost(server: Scripted, dying: bool) -> None:
    deleted = [] if dying else [Answer()]
    server.answers = [*deleted, status(404, "NotFound", "gone")]
    record, [due] = Record("staging"), steps(1)
    metadata = {"name": "one-0", "uid": "1", **({"deletionTimestamp": "now"} if dying else {})}
    due = replace(due, action=Action.RECREATE, live={"metadata": metadata})
    record.plan("phase", [due])

    def lost() -> None:
        raise Failure("The lock was lost.")

    writer = Writer(server.api(), KINDS, {}, [], record, lambda event: None, 30, guard=lost)
    with pytest.raises(Failure, match="The lock was lost"):
        writer.apply([due])

    assert [asked.method for asked in server.asked] == [*(["DELETE"] if deleted else []), "GET"]


def test_an_interruption_does_not_wait_for_deletions(server: Scripted) -> None:
    there = {"metadata": {"name": "one-0", "uid": "1", "resourceVersion": "7", "deletionTimestamp": "now"}}
    held_back = [Answer(body=json.dumps(there).encode())] * 500
    server.answers = [*held_back, status(404, "NotFound", "gone")]
    record, [due] = Record("staging"), steps(1)
    due = replace(due, action=Action.RECREATE, live=there)
    record.plan("phase", [due])

    def token() -> str:
        if len(server.asked) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return "a-token"

    api = Api(server.endpoint, token, Patience(30, 30))
    with pytest.raises(KeyboardInterrupt):
        Writer(api, KINDS, {}, [], record, lambda event: None, seconds=600).apply([due])

    assert len(server.asked) < len(held_back)
    assert {asked.method for asked in server.asked} == {"GET"}, "nothing takes its place"


def test_nothing_is_applied_after_an_interruption(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted may be gone at the very moment; a migration would run on without anybody's lock."""
    server.answers = [Answer(), status(404, "NotFound", "gone"), Answer()]
    record, [due] = Record("staging"), steps(1)
    there = {"metadata": {"name": "one-0", "uid": "1", "resourceVersion": "7"}}
    due = replace(due, action=Action.RECREATE, live=there)
    record.plan("phase", [due])
    interrupted = threading.Event()
    api = server.api()
    closed = api.close

    def close() -> None:
        closed()
        interrupted.set()

    def gone() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(30)

    monkeypatch.setattr(api, "close", close)
    with pytest.raises(KeyboardInterrupt):
        Writer(api, KINDS, {}, [], record, lambda event: None, 30, guard=gone).apply([due])

    assert [asked.method for asked in server.asked] == ["DELETE", "GET"], "nothing takes its place"


def test_new_values_of_a_predecessor_are_taken_over(
    server: Scripted,
) -> None:
    server.answers = [conflict(replicas="kubectl"), Answer(body=b'{"stored": true}')]

    assert list(forced(server, asked=False).values()) == [{"stored": True}]
    assert ["force=true" in asked.path for asked in server.asked] == [False, True]


def test_a_new_conflict_names_the_option_to_force_it(
    server: Scripted,
) -> None:
    server.answers = [conflict(replicas="autoscaler")]

    with pytest.raises(Failure, match="was changed by somebody else during this deploy") as caught:
        forced(server, asked=False)

    assert caught.value.why == "Service one-0: .spec.replicas is managed by autoscaler"
    assert "--force-conflicts Service/one-0:.spec.replicas" in caught.value.next_step


def test_an_object_that_keeps_changing_is_taken_over(
    server: Scripted, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "time", clock)
    theirs = {
        "manager": "kubectl-client-side-apply",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "then",
    }
    metadata = {"name": "one-0", "uid": "1", "resourceVersion": "1", "managedFields": [theirs]}
    live = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    conflict, look = status(409, "Conflict", "modified"), Answer(body=json.dumps(live).encode())
    server.answers = [conflict, *[look, conflict] * 4, look, Answer()]
    step = replace(steps(1)[0], action=Action.CHANGE, live=live)
    record = Record("staging")
    record.plan("phase", [step])

    Writer(server.patient_api(), KINDS, {}, [theirs["manager"]], record, lambda event: None, 30).apply([step])

    assert record.rows[step.ref].result == "applied"
    assert sum(clock.slept) > 1
