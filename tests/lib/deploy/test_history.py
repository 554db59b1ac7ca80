import json
from typing import Any

import pytest

from tasks.lib.deploy import parts
from tasks.lib.deploy.history import Past, bounded, choose, facts, images, pack, require_secrets, secret_keys
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.progress import Record
from tasks.lib.deploy.telling import row
from tasks.lib.errors import Failure, UsageError


def a_thing(kind: str, name: str, **fields: Any) -> Wanted:
    return Wanted(Ref("v1", kind, "default", name), {"kind": kind, "metadata": {"name": name}, **fields})


POD = {
    "initContainers": [{"image": "postgres:16"}],
    "containers": [{"image": "lookit@sha256:abc", "envFrom": [{"secretRef": {"name": "env-1"}}]}],
}
OBJECTS = [
    a_thing("Secret", "env-1", data={"password": "c2VjcmV0"}),
    a_thing("Deployment", "web", spec={"template": {"spec": POD}}),
    a_thing("Service", "web", spec={}),
]


def past(number: int, result: str = "deployed") -> Past:
    return Past(number, {"result": result}, pack(OBJECTS))


def test_what_is_kept_holds_no_secret_and_comes_back_whole() -> None:
    assert past(1).objects() == [thing.body for thing in OBJECTS[1:]]
    assert pack(OBJECTS) == pack(list(OBJECTS))


def test_the_images_of_all_containers_are_remembered() -> None:
    assert images(OBJECTS) == {"postgres:16", "lookit@sha256:abc"}


def test_facts_say_who_when_and_how_long_each_phase_took() -> None:
    record = Record("staging")
    record.phases = {"jobs": 1.234}
    said = facts({"commit": "abc", "who": "me"}, record, OBJECTS, "deployed", 2.5)
    assert {key: said[key] for key in ("commit", "who", "seconds", "phases", "result")} == {
        "commit": "abc",
        "who": "me",
        "seconds": "2.5",
        "phases": '{"jobs": 1.2}',
        "result": "deployed",
    }
    assert json.loads(said["images"]) == ["lookit@sha256:abc", "postgres:16"]
    assert json.loads(said["secrets"]) == [{"name": "env-1", "namespace": "default", "keys": ["password"]}]


def test_of_a_secret_only_names_and_keys_are_kept() -> None:
    secret = a_thing("Secret", "both", data={"b": "c2VjcmV0"}, stringData={"a": "canary"})
    (kept,) = secret_keys([secret, *OBJECTS[1:]])
    assert kept == {"name": "both", "namespace": "default", "keys": ["a", "b"]}


def went_back(number: int, to: int, result: str = "deployed") -> Past:
    return Past(number, {"result": result, "back_to": str(to)}, pack(OBJECTS))


@pytest.mark.parametrize("packed", ["aGVsbG8=", pack(OBJECTS)[:-8], "no base64"])
def test_a_release_that_somebody_changed_says_so(packed: str) -> None:
    with pytest.raises(Failure, match="somebody changed what is kept"):
        Past(3, {}, packed).objects()


def test_objects_beyond_the_bound_are_left_out_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bounded(past(1)) == past(1)
    monkeypatch.setattr(parts, "BYTES_OF_ALL", 10)
    kept = bounded(past(1))
    assert kept.facts["not_kept"].endswith("and 10 are kept at most.")
    with pytest.raises(Failure) as caught:
        kept.objects()
    assert caught.value.why == kept.facts["not_kept"]


@pytest.mark.parametrize(
    ("known", "number", "chosen"),
    [
        ([past(3, "failed"), past(2), past(1)], 0, 2),
        ([past(3), past(2, "failed"), past(1)], 0, 1),
        ([past(3), past(2, "failed"), past(1)], 2, 2),
        ([went_back(4, to=2), past(3), past(2), past(1)], 0, 1),
        ([went_back(4, to=2, result="roll back failed"), past(3), past(2), past(1)], 0, 3),
    ],
    ids=["after a failed one", "after a good one", "by number", "twice", "after a failed roll back"],
)
def test_going_back_leads_to_the_last_good_release_before_the_present(
    known: list[Past], number: int, chosen: int
) -> None:
    assert choose(known, number).number == chosen


@pytest.mark.parametrize(
    ("known", "number", "what"),
    [
        ([], 0, "There is no release that went well before the present one."),
        ([past(1)], 0, "There is no release that went well before the present one."),
        ([past(1)], 9, "There is no release 9."),
    ],
)
def test_a_release_that_is_not_there_is_named(known: list[Past], number: int, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(known, number)
    assert caught.value.what == what


def test_secrets_that_are_gone_stop_a_roll_back() -> None:
    require_secrets({"env-1"}, past(1).objects())
    with pytest.raises(Failure) as caught:
        require_secrets(set(), past(1).objects())
    assert caught.value.why == "env-1"


def test_a_release_reads_as_a_row() -> None:
    said = {
        "began": "then",
        "seconds": "61",
        "commit": "abcdef0123",
        "tag": "1.0",
        "who": "me@here (1)",
        "result": "deployed",
    }
    assert row(Past(4, {**said, "back_to": "2"}, "")) == (
        "4", "then", "1 min 01 s", "abcdef0", "1.0", "me@here", "deployed (back to 2)",
    )  # fmt: skip
