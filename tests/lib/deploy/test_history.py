import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.events import Record, ReleaseResult
from tasks.lib.deploy.history import (
    Release,
    choose,
    facts,
    images,
    is_good,
    last_good,
    pack,
    secret_keys,
    sound,
)
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.output.releases import release_lines, row
from tasks.lib.deploy.releases import store
from tasks.lib.deploy.releases.store import add, bounded, read
from tasks.lib.errors import Failure, UsageError
from tests.lib.cluster.scripted import Answer, Scripted, scripted, status


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

NIGHTLY = a_thing("CronJob", "nightly", spec={"jobTemplate": {"spec": {"template": {"spec": POD}}}})


def past(number: int, result: str = "deployed") -> Release:
    return Release(number, {"result": result}, pack(OBJECTS))


ZERO = past(0, "before the first deploy")


def test_what_is_kept_holds_no_secret_and_comes_back_whole() -> None:
    assert past(1).objects() == [thing.body for thing in OBJECTS[1:]]
    assert pack(OBJECTS) == pack(list(OBJECTS))


def test_the_images_of_all_containers_are_remembered() -> None:
    assert images(OBJECTS) == {"postgres:16", "lookit@sha256:abc"}
    assert images([NIGHTLY, a_thing("Pod", "one", spec=POD)]) == {"postgres:16", "lookit@sha256:abc"}


def test_facts_say_who_when_and_how_long_each_phase_took() -> None:
    record = Record("staging", outcome=ReleaseResult.DEPLOYED)
    record.phases = {"jobs": 1.234}
    said = facts({"commit": "abc", "who": "me"}, record, OBJECTS, 2.5)
    assert {key: said[key] for key in ("commit", "who", "seconds", "phases", "result")} == {
        "commit": "abc",
        "who": "me",
        "seconds": "2.5",
        "phases": '{"jobs": 1.2}',
        "result": "deployed",
    }
    assert json.loads(said["images"]) == ["lookit@sha256:abc", "postgres:16"]
    assert json.loads(said["secrets"]) == [{"name": "env-1", "namespace": "default", "keys": ["password"]}]


@pytest.mark.parametrize(
    ("release", "title", "commit"),
    [
        (Release(7, {"commit": "abc"}, ""), "release 7, commit abc", "abc"),
        (Release(7, {}, ""), "release 7, commit ?", "?"),
        (ZERO, "release 0, the state before the first deploy", "none"),
    ],
    ids=["of a commit", "of nobody knows which", "of others"],
)
def test_a_release_is_called_by_its_commit(release: Release, title: str, commit: str) -> None:
    assert (release.title, release.commit) == (title, commit)


def test_of_a_secret_only_names_and_keys_are_kept() -> None:
    secret = a_thing("Secret", "both", data={"b": "c2VjcmV0", "a": "Y2FuYXJ5"})
    (kept,) = secret_keys([secret, *OBJECTS[1:]])
    assert kept == {"name": "both", "namespace": "default", "keys": ["a", "b"]}


def went_back(number: int, to: int, result: str = "deployed") -> Release:
    return Release(number, {"result": result, "back_to": str(to)}, pack(OBJECTS))


@pytest.mark.parametrize("packed", ["aGVsbG8=", pack(OBJECTS)[:-8], "no base64"])
def test_a_release_that_somebody_changed_says_so(packed: str) -> None:
    with pytest.raises(Failure, match="somebody changed what is kept"):
        Release(3, {}, packed).objects()


def test_too_large_a_release_omits_objects_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bounded(past(1)) == past(1)
    monkeypatch.setattr(store, "BYTES_OF_ALL", 10)
    kept = bounded(past(1))
    assert kept.facts["not_kept"].endswith("and 10 are kept at most.")
    with pytest.raises(Failure) as caught:
        kept.objects()
    assert caught.value.why == kept.facts["not_kept"]


@pytest.mark.parametrize(
    ("known", "number", "chosen"),
    [
        ([past(3, "failed"), past(2), past(1)], None, 2),
        ([past(3), past(2, "failed"), past(1)], None, 1),
        ([past(3), past(2, "failed"), past(1)], 2, 2),
        ([went_back(4, to=2), past(3), past(2), past(1)], None, 1),
        ([went_back(4, to=2, result="rollback failed"), past(3), past(2), past(1)], None, 3),
        ([past(1), ZERO], None, 0),
        ([past(1), ZERO], 0, 0),
    ],
    ids=[
        "after a failed one",
        "after a good one",
        "by number",
        "twice",
        "after a failed rollback",
        "to what others had deployed",
        "to what others had deployed, by number",
    ],
)
def test_a_rollback_goes_to_the_last_good_release(
    known: list[Release], number: int | None, chosen: int
) -> None:
    assert choose(known, number, "staging").number == chosen


@pytest.mark.parametrize(
    ("known", "number", "what"),
    [
        ([], None, "There is no release that went well before the present one."),
        ([past(1)], None, "There is no release that went well before the present one."),
        (
            [went_back(2, to=0), past(1), ZERO],
            None,
            "There is no release that went well before the present one.",
        ),
        ([past(1)], 0, "There is no release 0."),
        ([past(1)], 9, "There is no release 9."),
    ],
)
def test_a_release_that_is_not_there_is_named(known: list[Release], number: int | None, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(known, number, "staging")
    assert caught.value.what == what


def test_a_release_reads_as_a_row() -> None:
    said = {
        "began": "then",
        "seconds": "61",
        "commit": "abcdef0123",
        "tag": "1.0",
        "who": "me@here (1)",
        "result": "deployed",
    }
    assert row(Release(4, {**said, "back_to": "2"}, "")) == (
        "4", "then", "1 min 01 s", "abcdef0", "1.0", "me@here", "deployed (back to 2)",
    )  # fmt: skip


def kept(number: int, part: int = 1, data: dict[str, str] | None = None) -> Json:
    """A ConfigMap of a release as the cluster has it."""
    (one, *_) = store.manifests(number, data or {}, pack(OBJECTS), "default")
    if part > 1:
        one["metadata"]["name"] = store.config_map(number, part)
        one["metadata"]["labels"][store.PART] = str(part)
    return one


def listing(*items: Json) -> Answer:
    return Answer(body=json.dumps({"metadata": {"resourceVersion": "1"}, "items": items}).encode())


def test_releases_are_read_newest_first_without_what_has_no_facts(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        server.answers = [listing(kept(2, data={"result": "failed"}), kept(10), kept(3, part=2))]

        found = read(server.api(), "default")

    assert [(one.number, one.facts) for one in found] == [(10, {}), (2, {"result": "failed"})]
    assert found[1].objects() == past(2).objects()


def test_releases_are_numbered_from_one(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        server.answers = [listing(), Answer(), listing(kept(7)), Answer()]

        api = server.api()
        assert add(api, "default", {}, OBJECTS, read(api, "default")) == 1
        assert add(api, "default", {}, None, read(api, "default")) == 8

    assert [asked.method for asked in server.asked] == ["GET", "POST"] * 2
    assert made(server) == [store.config_map(1, 1), store.config_map(8, 1)]
    first, eighth = (json.loads(asked.body)["binaryData"]["objects"] for asked in server.asked[1::2])
    assert (first, eighth) == (pack(OBJECTS), "")


EXISTS = status(409, "AlreadyExists", "it is there")


def stored(number: int, facts_of_it: dict[str, str]) -> Answer:
    """What the cluster answers that is asked for the first part of a release."""
    return Answer(body=json.dumps(kept(number, data=facts_of_it)).encode())


def made(server: Scripted) -> list[str]:
    """The names of what was to be made, in order."""
    return [json.loads(asked.body)["metadata"]["name"] for asked in server.asked if asked.method == "POST"]


def test_concurrent_releases_get_different_numbers(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        server.answers = [EXISTS, stored(8, {"who": "another"}), Answer()]

        assert add(server.api(), "default", {"who": "me"}, OBJECTS, [past(7)]) == 9

        assert made(server) == [store.config_map(8, 1), store.config_map(9, 1)]


def test_one_whose_answer_was_lost_is_kept_once(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        server.answers = [Answer(0), EXISTS, stored(8, {"who": "me"})]

        assert add(server.api(), "default", {"who": "me"}, OBJECTS, [past(7)]) == 8

        assert made(server) == [store.config_map(8, 1)] * 2


def test_a_removed_release_keeps_its_number_reserved(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        server.answers = [EXISTS, status(404, "NotFound", "gone"), Answer()]

        assert add(server.api(), "default", {}, OBJECTS, [past(7)]) == 9


def test_concurrent_large_releases_do_not_mix_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BYTES_OF_A_PART", len(pack(OBJECTS)) // 2)
    with scripted(tmp_path) as server:
        server.answers = [EXISTS, stored(8, {"who": "another"}), Answer()]

        assert add(server.api(), "default", {"who": "me"}, OBJECTS, [past(7)]) == 9

    written = [asked.path.partition("?")[0] for asked in server.asked if asked.method == "PATCH"]
    assert written == [f"/api/v1/namespaces/default/configmaps/{store.config_map(9, 2)}"]


def test_a_release_with_a_refused_part_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BYTES_OF_A_PART", len(pack(OBJECTS)) // 2)
    with scripted(tmp_path) as server:
        server.answers = [Answer(), status(403, "Forbidden", "exceeded quota: few"), Answer()]

        with pytest.raises(ApiError, match="keep the release"):
            add(server.api(), "default", {}, OBJECTS, [past(7)])

    deleted = [asked.path.rpartition("/")[2] for asked in server.asked if asked.method == "DELETE"]
    assert deleted == [store.config_map(8, 1), store.config_map(8, 2)]


def test_another_conflict_does_not_count_numbers_up(tmp_path: Path) -> None:
    with scripted(tmp_path) as server:
        server.answers = [status(409, "Conflict", "the quota was changed"), status(404, "NotFound", "none")]

        with pytest.raises(ApiError, match="409 Conflict"):
            add(server.api(), "default", {}, OBJECTS, [past(7)])


def test_old_releases_are_removed_except_the_last_good(tmp_path: Path) -> None:
    there = [kept(number, data={"result": "failed"}) for number in range(2, store.KEPT + 2)]
    with scripted(tmp_path) as server:
        server.answers = [listing(kept(1, data={"result": "deployed"}), *there), Answer()]

        api = server.api()
        add(api, "default", {"result": "failed"}, OBJECTS, read(api, "default"))

    deleted = [asked.path.rpartition("/")[2] for asked in server.asked if asked.method == "DELETE"]
    assert deleted == [store.config_map(2, 1)]


def test_the_start_of_a_release_follows_from_its_duration() -> None:
    began = facts({}, Record("staging"), [], 3600.0)["began"]

    ago = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(began)
    assert datetime.timedelta(minutes=59) < ago < datetime.timedelta(minutes=61)


@pytest.mark.parametrize(
    ("known", "good"),
    [([], False), ([past(2), past(1, "failed")], True), ([past(2, "failed"), past(1)], False)],
    ids=["no release", "the newest went well", "only an earlier one went well"],
)
def test_the_present_is_good_where_the_newest_went_well(known: list[Release], good: bool) -> None:
    assert is_good(known) is good


def test_release_zero_is_brought_back_by_what_deployed_it() -> None:
    assert Release(0, {}, "").instead == "Deploy with what deployed here before."


def test_the_last_good_release_is_the_newest_that_went_well() -> None:
    good = last_good([past(3, "failed"), past(2), past(1)])

    assert good
    assert good.number == 2
    assert last_good([past(1, "killed")]) is None
    assert last_good([past(1, "failed"), ZERO]) is ZERO


@pytest.mark.parametrize(
    ("kept", "result", "rolled_back_to"),
    [
        ({"result": "failed, rolled back", "rolled_back_to": "7"}, ReleaseResult.RECOVERED, 7),
        ({"result": "failed, rollback failed"}, ReleaseResult.RECOVERY_FAILED, None),
        ({"result": "as somebody likes it"}, ReleaseResult.UNKNOWN, None),
        ({}, ReleaseResult.UNKNOWN, None),
    ],
)
def test_a_result_is_one_that_is_known(
    kept: dict[str, str], result: ReleaseResult, rolled_back_to: int | None
) -> None:
    one = Release(9, kept, "")

    assert (one.result, one.rolled_back_to) == (result, rolled_back_to)


def test_a_recovered_release_is_listed_with_what_came_back() -> None:
    kept = {"result": "failed, rolled back", "rolled_back_to": "7"}
    assert row(Release(9, kept, ""))[-1] == "failed, rolled back to 7"


SOUND_FACTS = {
    "result": "deployed",
    "seconds": "2.5",
    "back_to": "3",
    "phases": '{"jobs": 1.2}',
    "images": '["a:1"]',
    "secrets": json.dumps([{"name": "env-1", "namespace": "default", "keys": ["a"]}]),
}


def test_what_can_be_read_stays_as_it_is() -> None:
    assert sound(SOUND_FACTS) == SOUND_FACTS
    assert sound({}) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seconds", "long"), ("seconds", "nan"), ("seconds", ""), ("back_to", "six"), ("back_to", "-1"),
        ("phases", "{"), ("phases", "[]"), ("phases", '{"jobs": "long"}'), ("images", '["a"'), ("images", "[1]"),
        ("images", "[" * 100_000), ("secrets", "{}"), ("secrets", '[{"name": "a"}]'), ("secrets", "null"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out_and_named(name: str, text: str) -> None:
    expected = {**SOUND_FACTS, "damaged": name}
    del expected[name]
    assert sound({**SOUND_FACTS, name: text}) == expected


def test_a_damaged_release_is_told() -> None:
    damaged = dict.fromkeys(("seconds", "back_to", "phases", "images", "secrets"), "{")
    one = Release(4, sound({**SOUND_FACTS, **damaged, "not_kept": "Too large."}), "")

    assert row(one)[2] == "0.0 s"
    assert "  damaged: back_to, images, phases, seconds, secrets" in release_lines(one)
