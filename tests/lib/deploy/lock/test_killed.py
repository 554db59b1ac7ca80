"""What is remembered of a deploy that was killed."""

import json
from pathlib import Path

import pytest

from tasks.lib.deploy.lock.killed import NOT_KEPT, facts, remember
from tasks.lib.deploy.releases import store
from tests.lib.cluster.scripted import Answer, scripted

NOTES = {"commit": "abc", "branch": "develop"}


@pytest.mark.parametrize(
    ("spec", "began", "seconds"),
    [
        (
            {"acquireTime": "2026-01-02T03:04:05.500000Z", "renewTime": "2026-01-02T03:05:07.600000Z"},
            "2026-01-02T03:04:05Z",
            "62.1",
        ),
        ({"acquireTime": "yesterday"}, "", "0.0"),
        ({}, "", "0.0"),
    ],
    ids=["whole", "no times", "nothing"],
)
def test_its_lease_says_who_when_and_how_long(spec: dict[str, str], began: str, seconds: str) -> None:
    lease = {"metadata": {}, "spec": {"holderIdentity": "me@here (1)", **spec}}

    assert facts(lease, NOTES) == {
        "commit": "abc",
        "branch": "develop",
        "who": "me@here (1)",
        "began": began,
        "seconds": seconds,
        "phases": "{}",
        "images": "[]",
        "secrets": "[]",
        "result": "killed",
        "not_kept": NOT_KEPT,
    }


@pytest.mark.parametrize(
    ("holder", "said", "written"),
    [
        (
            "me@here (1)",
            "The deploy before had ended, as release 4, and could not give its lock back.",
            [],
        ),
        (
            "me@here (2)",
            "The deploy before was killed, or cut off from the cluster: it is kept as release 5.",
            [store.config_map(5, 1)],
        ),
    ],
    ids=["it kept its release", "it did not"],
)
def test_who_kept_its_own_release_was_not_killed(
    tmp_path: Path, holder: str, said: str, written: list[str]
) -> None:
    metadata = {"name": store.config_map(4, 1), "labels": {store.LABEL: "4"}}
    kept = {"metadata": metadata, "data": {"who": "me@here (1)", "result": "deployed"}}
    listing = Answer(body=json.dumps({"metadata": {"resourceVersion": "1"}, "items": [kept]}).encode())
    lease = {"metadata": {"namespace": "default"}, "spec": {"holderIdentity": holder}}
    with scripted(tmp_path) as server:
        server.answers = [listing]

        assert remember(server.api(), lease, NOTES) == said

    made = [json.loads(asked.body) for asked in server.asked if asked.method == "POST"]
    assert [one["metadata"]["name"] for one in made] == written
    assert [asked.method for asked in server.asked].count("GET") == 1, "the history is read once"
