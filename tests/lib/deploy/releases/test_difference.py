import json
from typing import Any

import pytest

from tasks.lib.deploy.history import Release, find, pack
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.releases.review import Difference, differences, pick
from tasks.lib.deploy.steps import Change
from tasks.lib.errors import UsageError

Thing = dict[str, Any]


def thing(kind: str, name: str, **fields: Any) -> Thing:
    return {"kind": kind, "metadata": {"name": name, "namespace": "default"}, **fields}


def past(number: int, *things: Thing, secrets: dict[str, list[str]] | None = None) -> Release:
    objects = [Wanted(Ref("v1", one["kind"], "default", one["metadata"]["name"]), one) for one in things]
    keys = [{"name": n, "namespace": "default", "keys": k} for n, k in (secrets or {}).items()]
    return Release(number, {"secrets": json.dumps(keys), "commit": "a" * 40}, pack(objects))


def test_objects_are_added_removed_and_changed_field_by_field() -> None:
    before = past(1, thing("Service", "gone"), thing("Deployment", "web", spec={"replicas": 1}))
    after = past(2, thing("Deployment", "web", spec={"replicas": 2}), thing("Ingress", "new"))
    assert differences(before, after) == [
        Difference("Deployment", "web", "changed", (Change("spec.replicas", "1", "2"),)),
        Difference("Ingress", "new", "added"),
        Difference("Service", "gone", "removed"),
    ]
    assert differences(before, before) == []


def test_jobs_skipped_by_a_rollback_are_not_removed() -> None:
    before, after = past(1, thing("Job", "migration")), past(2)
    assert [one.action for one in differences(before, after)] == ["removed"]
    after.facts["back_to"] = "1"
    assert differences(before, after) == []


def test_generated_config_maps_are_compared_with_their_predecessor() -> None:
    before = past(1, thing("ConfigMap", "settings-2456789bcd", data={"A": "1"}))
    after = past(2, thing("ConfigMap", "settings-fghkmt2456", data={"A": "2"}))
    (found,) = differences(before, after)
    assert (found.name, found.action) == ("settings-fghkmt2456", "changed")
    assert Change("data.A", "1", "2") in found.changes


def test_ambiguous_generated_config_maps_are_not_matched() -> None:
    before = past(1, thing("ConfigMap", "settings-2456789bcd"), thing("ConfigMap", "settings-2456789bcf"))
    after = past(2, thing("ConfigMap", "settings-fghkmt2456"))
    assert [one.action for one in differences(before, after)] == ["added", "removed", "removed"]


def test_differences_of_secrets_show_no_values() -> None:
    before = past(1, secrets={"env-2456789bcd": ["A", "B"]})
    after = past(2, secrets={"env-fghkmt2456": ["B", "C"]})
    (found,) = differences(before, after)
    assert [str(change) for change in found.changes] == [
        "- data.A: [redacted]",
        "+ data.C: [redacted]",
        "~ metadata.name: env-2456789bcd → env-fghkmt2456",
    ]


KNOWN = [past(3), past(2), past(1)]


@pytest.mark.parametrize(
    ("numbers", "chosen"), [([], (2, 3)), ([1], (1, 3)), ([3, 1], (3, 1))], ids=["newest two", "one", "both"]
)
def test_which_releases_are_compared(numbers: list[int], chosen: tuple[int, int]) -> None:
    before, after = pick(KNOWN, numbers, "staging")
    assert (before.number, after.number) == chosen


@pytest.mark.parametrize(
    ("numbers", "chosen"), [([], (2, 3)), ([1], (1, 3)), ([1, 4], (1, 4))], ids=["newest two", "one", "both"]
)
def test_a_release_without_objects_is_compared_only_if_named(
    numbers: list[int], chosen: tuple[int, int]
) -> None:
    killed = Release(4, {"result": "killed"}, "")

    before, after = pick([killed, *KNOWN], numbers, "staging")

    assert (before.number, after.number) == chosen


@pytest.mark.parametrize(
    ("known", "numbers", "what"),
    [
        ([past(1)], [], "There are no two releases to compare."),
        ([Release(2, {"result": "killed"}, ""), past(1)], [], "There are no two releases to compare."),
        ([Release(1, {"result": "killed"}, "")], [1], "There are no two releases to compare."),
        (KNOWN, [9], "There is no release 9."),
        (KNOWN, [1, 2, 3], "Two releases can be compared."),
    ],
)
def test_releases_that_are_not_kept_cannot_be_compared(
    known: list[Release], numbers: list[int], what: str
) -> None:
    with pytest.raises(UsageError) as caught:
        pick(known, numbers, "staging")
    assert caught.value.what == what


def test_a_release_is_found_by_its_number() -> None:
    assert find(KNOWN, 2, "staging").number == 2
