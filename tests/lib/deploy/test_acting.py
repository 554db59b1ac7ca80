from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.lib.cluster.api import CONNECTIONS
from tasks.lib.cluster.kinds import Kind
from tasks.lib.cluster.refusal import ApiError
from tasks.lib.deploy.acting import Acting
from tasks.lib.deploy.decide import Action, Step
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.progress import Record
from tests.lib.cluster.scripted import Answer, Scripted, scripted, status

KINDS = {("v1", "Service"): Kind("v1", "Service", "services", namespaced=True)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Scripted]:
    with scripted(tmp_path) as served:
        yield served


def steps(count: int) -> list[Step]:
    refs = [Ref("v1", "Service", "staging", f"one-{number}") for number in range(count)]
    return [Step(Wanted(ref, {}), Action.CREATE, "", {"metadata": {"name": ref.name}}) for ref in refs]


def test_a_refusal_among_many_ends_the_batch_and_what_has_not_begun_never_begins(server: Scripted) -> None:
    server.answers = [*[Answer()] * 20, status(422, "Invalid", "no")]
    due, record = steps(60), Record("staging")
    record.plan("phase", due)
    acting = Acting(server.api(), KINDS, frozenset(), [], record, lambda event: None)

    with pytest.raises(ApiError, match="The cluster refused to apply Service one-"):
        acting.apply(due)

    results = [row.result for row in record.rows.values()]
    assert results.count("applied") == 20
    assert 1 <= results.count("failed: refused") <= CONNECTIONS
    assert results.count("not reached") == 60 - len(server.asked)
