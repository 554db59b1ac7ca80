"""Stopping workloads for one reason or two, and starting them with as many pods as before."""

from typing import Any

import pytest

from tasks.lib.deploy import maintenance
from tasks.lib.deploy.objects import APPLIED, Ref
from tasks.lib.operate.stopping import other_form, pods_before, running_pods, started
from tasks.lib.operate.workloads import RESTORE, is_stopped

MEANWHILE = maintenance.REPLICAS


def workload(replicas: int | None, **notes: str) -> dict[str, Any]:
    names = {"restore": RESTORE, "maintenance": MEANWHILE, "applied": APPLIED}
    metadata = {"name": "web", "annotations": {names[key]: value for key, value in notes.items()}}
    spec = {"selector": {"matchLabels": {"app": "web"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": spec if replicas is None else {**spec, "replicas": replicas},
    }


@pytest.mark.parametrize(
    ("live", "count"),
    [
        (workload(3), "3"),
        (workload(None), "1"),
        (workload(0), "0"),
        (workload(0, restore="2"), "2"),
        (workload(0, maintenance="2"), "2"),
        (workload(3, maintenance="2"), "3"),
    ],
    ids=["runs", "by default", "has none", "by a restore", "by maintenance", "noted, but started since"],
)
def test_the_pods_before_are_those_before_the_first_stop(live: dict[str, Any], count: str) -> None:
    assert pods_before(live) == count


@pytest.mark.parametrize(
    ("live", "after_a_restore", "after_maintenance"),
    [
        (workload(0, restore="2"), 2, 0),
        (workload(0, maintenance="2"), 0, 2),
        (workload(0, restore="2", maintenance="2"), 0, 0),
        (workload(3, maintenance="2"), 3, 3),
    ],
    ids=["restore", "maintenance", "both", "started since"],
)
def test_a_workload_starts_when_its_last_reason_ends(
    live: dict[str, Any], after_a_restore: int, after_maintenance: int
) -> None:
    assert started(live, RESTORE) == after_a_restore
    assert started(live, MEANWHILE) == after_maintenance


def test_who_scaled_it_up_has_ended_the_stop() -> None:
    assert is_stopped(workload(0, restore="2"), RESTORE)
    assert not is_stopped(workload(2, restore="2"), RESTORE)
    assert not is_stopped(workload(0, maintenance="2"), RESTORE)


def test_pods_that_are_still_ending_still_run() -> None:
    def pod(name: str, phase: str = "Running", app: str = "web", **metadata: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": {"app": app}, **metadata}, "status": {"phase": phase}}

    there = [pod("b", deletionTimestamp="now"), pod("a"), pod("done", "Succeeded"), pod("other", app="queue")]

    assert running_pods([workload(0)], there) == ["a", "b"]


def test_an_object_as_released_is_as_released_in_its_other_form() -> None:
    known = {Ref("apps/v1", "Deployment", "", "web"): ("normal", "meanwhile")}

    assert other_form(workload(1, applied="normal"), known, 1) == {APPLIED: "meanwhile"}
    assert other_form(workload(0, applied="meanwhile"), known, 0) == {APPLIED: "normal"}
    assert other_form(workload(1, applied="another"), known, 1) == {}
    assert other_form(workload(1, applied="normal"), {}, 1) == {}
