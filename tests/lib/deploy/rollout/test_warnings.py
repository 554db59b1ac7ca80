from typing import Any

import pytest

from tasks.lib.deploy.rollout.warnings import Warnings, last_seen

WEB = {"metadata": {"uid": "web"}}


def event(
    uid: str, reason: str = "Unhealthy", at: str = "2026-01-01T00:00:10Z", **more: Any
) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid},
        "involvedObject": {"uid": "web"},
        "reason": reason,
        "lastTimestamp": at,
        **more,
    }


def test_the_newest_event_of_each_reason_is_told() -> None:
    warnings = Warnings()
    warnings.put(event("1", at="2026-01-01T00:00:20Z"), arrived=True)
    warnings.put(event("2"), arrived=True)
    warnings.put(event("3", "FailedMount"), arrived=True)
    assert {one["metadata"]["uid"] for one in warnings.about(WEB)} == {"1", "3"}
    assert warnings.about({"metadata": {"uid": "another"}}) == []


def test_a_deleted_event_is_forgotten() -> None:
    warnings = Warnings()
    warnings.put(event("1"), arrived=True)
    warnings.drop(event("1"))
    assert warnings.about(WEB) == []


@pytest.mark.parametrize(
    ("arrived", "since", "recent"),
    [
        (True, "2026-01-01T00:00:30", True),
        (False, "2026-01-01T00:00:10", True),
        (False, "2026-01-01T00:00:11", False),
        (False, "", False),
    ],
    ids=["came while watching", "not older than our write", "older", "nothing was written"],
)
def test_what_is_recent(arrived: bool, since: str, recent: bool) -> None:
    warnings = Warnings()
    warnings.put(event("1"), arrived=arrived)
    assert warnings.is_recent(event("1"), since) is recent


def test_an_event_that_happens_again_becomes_recent() -> None:
    warnings = Warnings()
    warnings.put(event("1"), arrived=False)
    warnings.put(event("1", at="2026-01-01T00:00:40Z"), arrived=True)
    assert warnings.is_recent(event("1"), "")


@pytest.mark.parametrize(
    ("times", "seen"),
    [
        ({"lastTimestamp": "2026-01-01T00:00:10Z"}, "2026-01-01T00:00:10"),
        ({"lastTimestamp": None, "eventTime": "2026-01-01T00:00:11.5Z"}, "2026-01-01T00:00:11"),
        ({"series": {"lastObservedTime": "2026-01-01T00:00:12.1Z"}}, "2026-01-01T00:00:12"),
        ({"lastTimestamp": None}, "2026-01-01T00:00:09"),
    ],
)
def test_when_an_event_last_happened(times: dict[str, Any], seen: str) -> None:
    base = event("1")
    base["metadata"]["creationTimestamp"] = "2026-01-01T00:00:09Z"
    assert last_seen({**base, **times}) == seen
