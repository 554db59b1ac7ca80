"""The deploy over a connection that misbehaves, through a proxy before the sandbox's real API server."""

from typing import Any

import pytest

from tests.fault_proxy import WATCH, FaultProxy
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

COMMIT = "e" * 40


@pytest.mark.parametrize(
    "faults",
    [
        [{"pattern": "PATCH ", "times": 10, "status": 429, "retry_after": 1}],
        [{"pattern": "(PATCH|POST|GET) ", "times": 6, "status": 503}],
        [{"pattern": "PATCH .*/(deployments|jobs)/", "times": 6, "drop": True, "applied": True}],
        [{"pattern": WATCH, "times": 6, "gone": True}, {"pattern": WATCH, "times": 30, "cut_after": 0.5}],
    ],
    ids=["overloaded", "server errors", "answers lost after they took effect", "watches expired and cut"],
)
def test_a_deploy_gets_through(environment: Case, proxy: FaultProxy, faults: list[dict[str, Any]]) -> None:
    with environment.behind(proxy) as case:
        added = [proxy.add(**fault) for fault in faults]

        done = case.invoke("deploy", "--branch", "develop", "--commit", COMMIT)

        assert done.returncode == 0, done.stderr
        assert all(fault.hits for fault in added)
        proxy.clear()
        again = case.invoke("deploy", "--branch", "develop", "--commit", COMMIT)
        assert "staging is unchanged and ready" in again.stderr
