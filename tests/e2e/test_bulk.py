"""Many objects at once, over a connection that fails now and then."""

import json
from contextlib import closing
from typing import Any

import pytest

from tasks.lib.cluster.gke import connect
from tasks.lib.deploy.deploy import deploy
from tests.fault_proxy import FaultProxy
from tests.plain_deploy import PlainDeploy
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

COUNT = 320
WRITE = "PATCH .*/(configmaps|secrets)/(conf|secret)-"
FAULTS: list[dict[str, Any]] = [
    {"pattern": WRITE, "times": 20, "status": 429, "retry_after": 1},  # overloaded
    {"pattern": WRITE, "times": 20, "status": 503},
    {"pattern": WRITE, "times": 20, "drop": True, "applied": True},  # the answer is lost after it took effect
    {"pattern": WRITE, "times": 20, "drop": True},
]


def thing(case: Case, kind: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": case.name}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"turn": "MQ=="}}


def many(case: Case) -> list[dict[str, Any]]:
    maps = [thing(case, "ConfigMap", f"conf-{n}") for n in range(COUNT // 2)]
    secrets = [thing(case, "Secret", f"secret-{n}") for n in range(COUNT // 2)]
    return [*maps, *secrets]


def test_three_hundred_objects_deploy_through_temporary_errors(environment: Case, proxy: FaultProxy) -> None:
    added = [proxy.add(**fault) for fault in FAULTS]
    with environment.behind(proxy) as behind:
        connection = connect(behind.settings, behind.environment)
        with closing(connection.api):
            operation = PlainDeploy(behind.settings, behind.environment, connection, many(behind))
            record = deploy(operation, lambda event: None)
            with operation.preflight(record, lambda event: None) as session:
                again = operation.plan(session)

    assert [fault.hits for fault in added] == [20] * len(FAULTS)
    assert {row.result for row in record.rows.values()} == {"applied"}
    assert len(record.rows) == COUNT
    assert not [step for step in again.steps if step.writes]
    listed = json.loads(environment.kubectl("get", "configmaps,secrets", "-o", "json"))["items"]
    deployed = [one for one in listed if one["metadata"]["name"].startswith(("conf-", "secret-"))]
    assert len(deployed) == COUNT
