"""The deploy over a connection that misbehaves, through a proxy before the sandbox's real API server."""

from typing import Any

import pytest

from tests.deployed import deployed, in_every_phase
from tests.fault_proxy import WATCH, FaultProxy
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

FAULTS: dict[str, list[dict[str, Any]]] = {
    "overloaded": [{"pattern": "PATCH ", "times": 2, "status": 429, "retry_after": 1}],
    "server errors": [{"pattern": "(PATCH|POST|GET) ", "times": 6, "status": 503}],
    "answers lost after they took effect": [
        {"pattern": "PATCH .*/(deployments|jobs)/", "times": 2, "drop": True, "applied": True}
    ],
    "watches expired and cut": [
        {"pattern": WATCH, "times": 6, "gone": True},
        {"pattern": WATCH, "times": 30, "cut_after": 0.5},
    ],
}


def test_a_deploy_gets_through(environment: Case, proxy: FaultProxy) -> None:
    """Every fault takes those requests that the ones above it have let through by then."""
    environment.hold_only(*in_every_phase())
    with environment.behind(proxy) as case:
        added = {kind: [proxy.add(**fault) for fault in faults] for kind, faults in FAULTS.items()}

        deployed(case)

        unstruck = [kind for kind, faults in added.items() if not all(fault.hits for fault in faults)]
        assert unstruck == []
        proxy.clear()
        assert "staging is unchanged and ready" in deployed(case)
