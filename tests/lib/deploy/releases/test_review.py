from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.lib.cluster import gke
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.history import Release, pack
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.releases import review, store
from tasks.lib.deploy.releases.review import Status, in_force, set_by
from tasks.lib.deploy.steps import Change
from tasks.lib.errors import ChangesFound, UsageError
from tests.builders import checked_in_settings


def past(number: int, result: str = "deployed") -> Release:
    return Release(number, {"result": result}, "")


def rolled_back(number: int, to: int) -> Release:
    return Release(number, {"result": "failed, rolled back", "rolled_back_to": str(to)}, "")


@pytest.mark.parametrize(
    ("newest", "number"),
    [(past(3), 3), (past(3, "failed"), 3), (rolled_back(3, 1), 1), (past(3, "failed, rollback failed"), 3)],
)
def test_the_current_release_may_be_a_rollback(newest: Release, number: int) -> None:
    assert in_force([newest, past(2, "failed"), past(1)], "staging").number == number


def test_a_killed_deploy_is_not_in_force_where_another_ended() -> None:
    assert in_force([past(3, "killed"), rolled_back(2, 1), past(1)], "staging").number == 1
    assert in_force([past(1, "killed")], "staging").number == 1


def test_a_forgotten_rollback_target_is_named() -> None:
    with pytest.raises(UsageError):
        in_force([rolled_back(9, 1)], "staging")


def test_no_drift_is_no_change() -> None:
    Status(past(1), ()).require_no_drift()
    with pytest.raises(ChangesFound):
        Status(past(1), (None,)).require_no_drift()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("newest", "kinds"),
    [
        (past(2), ["Service", "Job"]),
        (past(2, "failed"), ["Service", "Job"]),
        (rolled_back(2, 1), ["Service"]),
    ],
)
def test_a_recovered_release_does_not_include_jobs(newest: Release, kinds: list[str]) -> None:
    wanted = [Wanted(Ref("v1", kind, "default", "x"), {"kind": kind}) for kind in ("Service", "Job")]
    releases = [replace(newest, packed=pack(wanted)), Release(1, {"result": "deployed"}, pack(wanted))]

    assert [body["kind"] for body in set_by(in_force(releases, "staging"), releases)] == kinds


def release(number: int, shown: str) -> Release:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"url": f"db://{shown}@lookit"},
    }
    return Release(number, {"commit": "c" * 40}, pack([Wanted(Ref("v1", "ConfigMap", "d", "c"), config)]))


@pytest.mark.parametrize("readable", [True, False], ids=["Secrets can be read", "Secrets cannot be read"])
def test_how_releases_differ_is_told_without_the_values_of_secrets(
    readable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def secrets(_path: str, **_: str) -> Any:
        if not readable:
            raise ApiError("list secrets", 403, "Forbidden", "secrets is forbidden")
        return [{"stringData": {"DB_PASSWORD": "correct horse", "DB_NAME": "lookit"}}], "1"

    @contextmanager
    def reached(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(api=SimpleNamespace(list=secrets))

    monkeypatch.setattr(gke, "reached", reached)
    monkeypatch.setattr(store, "read", lambda *_: [release(2, "correct%20horse"), release(1, "before")])
    settings = checked_in_settings()

    _, _, (found,) = review.compare(settings, settings.environment("staging"), [])

    shown = "[redacted]" if readable else "correct%20horse"
    assert found.changes == (Change("data.url", "db://before@lookit", f"db://{shown}@lookit"),)
