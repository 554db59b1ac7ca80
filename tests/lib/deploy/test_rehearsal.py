"""What a refused dry run leads to; whole ones run in tests/e2e."""

import json
from pathlib import Path

import pytest

from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.decide import Action, Step
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.rehearsal import Rehearsal, Tried
from tests.lib.cluster.scripted import Answer, scripted, status

KEY = "apps/v1", "Deployment"
WEB = Ref(*KEY, "default", "web")
BODY = {"apiVersion": KEY[0], "kind": KEY[1], "metadata": {"name": "web"}, "spec": {"replicas": 2, "a": 1}}
TAKEN = ("autoscaler", ".spec.replicas")


def tried(folder: Path, owned: list[tuple[str, str]], *, concedes: bool) -> tuple[Tried, list[str]]:
    """How a change goes that is refused for these fields first; and the queries of its dry runs."""
    causes = [
        {"reason": "FieldManagerConflict", "field": field, "message": f'conflict with "{manager}"'}
        for manager, field in owned
    ]
    left = [cause for cause in causes if '"kubectl"' in cause["message"]]
    with scripted(folder) as server:
        server.answers = [status(409, "Conflict", "no", causes=causes)]
        server.answers += [status(409, "Conflict", "no", causes=left)] if left else []
        server.answers += [Answer(body=json.dumps(BODY).encode())]
        kinds = {KEY: Kind(*KEY, "deployments", namespaced=True)}
        rehearsal = Rehearsal(server.api(), kinds, ["kubectl"], [], "default", concedes=concedes)
        live = {**BODY, "metadata": {"name": "web", "labels": {"other": "label"}}}
        [one] = rehearsal.run([Step(Wanted(WEB, BODY), Action.CHANGE, "", BODY, live)])
    return one, [asked.path.partition("?")[2] for asked in server.asked]


def test_what_others_own_is_a_conflict(tmp_path: Path) -> None:
    one, asked = tried(tmp_path, [TAKEN], concedes=False)

    assert [str(c) for c in one.conflicts] == ["Deployment web: .spec.replicas is managed by autoscaler"]
    assert one.conceded == ()
    assert len(asked) == 1


def test_what_others_own_is_left_to_them_where_that_is_asked_for(tmp_path: Path) -> None:
    one, asked = tried(tmp_path, [TAKEN], concedes=True)

    assert [str(c) for c in one.conceded] == ["Deployment web: .spec.replicas is managed by autoscaler"]
    assert one.conflicts == ()
    assert one.step.body["spec"] == {"a": 1}
    assert one.step.wanted.body["spec"] == BODY["spec"]
    assert len(asked) == 2


def test_what_a_predecessor_owns_beside_it_is_taken_over_all_the_same(tmp_path: Path) -> None:
    one, asked = tried(tmp_path, [TAKEN, ("kubectl", ".spec.a")], concedes=True)

    assert [c.field for c in one.conceded] == [".spec.replicas"]
    assert [c.field for c in one.forced] == [".spec.a"]
    assert one.step.body["spec"] == {"a": 1}
    assert ["force" in query for query in asked] == [False, False, True]


@pytest.mark.parametrize("field", [".spec.elsewhere", "odd"])
def test_a_field_that_cannot_be_left_out_stays_a_conflict(tmp_path: Path, field: str) -> None:
    one, _ = tried(tmp_path, [TAKEN, ("other", field)], concedes=True)

    assert len(one.conflicts) == 2
    assert one.step.body == BODY
