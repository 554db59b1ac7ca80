"""The faults that tests can inject do happen: the proxy's, a failing backup, an unwilling webhook.

A full etcd: test_sandbox.py.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.cloud import sql
from tasks.lib.google.sessions import authorized_session
from tests.fault_proxy import WATCH, FaultProxy
from tests.heard import LONGEST, until
from tests.sandbox_case import Case, Sandbox
from tests.webhook import Receiver

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def session(sandbox: Sandbox, proxy: FaultProxy) -> Iterator[requests.Session]:
    """An authorised session that trusts the cluster's authority."""
    found = authorized_session(sandbox.overlaid({}).google)
    found.trust_env = False
    found.verify = str(sandbox.state.cluster("lookit-staging") / "ca.crt")
    yield found
    found.close()


def test_without_faults_the_proxy_is_the_api_server(session: requests.Session, proxy: FaultProxy) -> None:
    answer = session.get(f"https://{proxy.endpoint}/version", timeout=LONGEST)

    assert answer.json()["gitVersion"] == "v1.36.3"
    assert proxy.requests == ["GET /version"]


@pytest.mark.parametrize(("status", "reason"), [(429, "TooManyRequests"), (503, "ServiceUnavailable")])
def test_a_status_is_injected_as_often_as_asked(
    session: requests.Session, proxy: FaultProxy, status: int, reason: str
) -> None:
    fault = proxy.add(pattern="GET /version", times=2, status=status, retry_after=1)

    seen = [session.get(f"https://{proxy.endpoint}/version", timeout=LONGEST) for _ in range(3)]

    assert [answer.status_code for answer in seen] == [status, status, 200]
    assert seen[0].json()["reason"] == reason
    assert seen[0].headers["Retry-After"] == "1"
    assert fault.hits == 2


def test_a_connection_is_dropped(session: requests.Session, proxy: FaultProxy) -> None:
    proxy.add(pattern="/version", drop=True)

    with pytest.raises(requests.ConnectionError):
        session.get(f"https://{proxy.endpoint}/version", timeout=LONGEST)


def test_an_answer_is_lost_after_the_request_took_effect(
    session: requests.Session, proxy: FaultProxy, environment: Case
) -> None:
    proxy.add(pattern="POST", drop=True, applied=True)
    value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}}

    with pytest.raises(requests.ConnectionError):
        session.post(f"https://{proxy.endpoint}{environment.path}/configmaps", json=value, timeout=LONGEST)

    assert environment.api.get(f"{environment.path}/configmaps/made")


def test_latency_is_added(session: requests.Session, proxy: FaultProxy) -> None:
    proxy.add(latency=1.0)
    began = time.monotonic()

    session.get(f"https://{proxy.endpoint}/version", timeout=LONGEST)

    assert time.monotonic() - began >= 1.0


def test_a_watch_is_cut_and_expires(session: requests.Session, proxy: FaultProxy) -> None:
    url = f"https://{proxy.endpoint}/api/v1/nodes?watch=true"
    proxy.add(pattern=WATCH, cut_after=5.0)
    proxy.add(pattern=WATCH, gone=True)

    first = session.get(url, stream=True, timeout=LONGEST)
    events: list[bytes] = []
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        events.extend(first.iter_lines())
    second = session.get(url, timeout=LONGEST)

    assert len(events) >= 2, "the nodes were seen before the cut"
    assert json.loads(second.text)["object"]["code"] == 410


def test_a_backup_goes_through_its_states(sandbox: Sandbox) -> None:
    google = sandbox.overlaid({}).google
    base = f"{google.sql_admin}/v1/projects/mit-lookit"
    session = authorized_session(google)
    begun = session.post(
        f"{base}/instances/staging/backupRuns", json={"description": "before"}, timeout=LONGEST
    )
    operation: dict[str, Any] = begun.json()
    backup = operation["backupContext"]["backupId"]

    assert (begun.status_code, operation["status"]) == (200, "PENDING")
    until(
        lambda: (
            session.get(f"{base}/operations/{operation['name']}", timeout=LONGEST).json()["status"] == "DONE"
        )
    )
    listed = session.get(f"{base}/instances/staging/backupRuns", timeout=LONGEST).json()["items"]
    (run,) = [found for found in listed if found["id"] == backup]
    assert (run["status"], run["description"]) == ("SUCCESSFUL", "before")


def test_a_backup_fails_when_told_to(sandbox: Sandbox) -> None:
    sql.register(sandbox.state.google, "mit-lookit", "sick")
    sql.fail(sandbox.state.google, "mit-lookit", "sick", "disk is gone")
    google = sandbox.overlaid({}).google
    base = f"{google.sql_admin}/v1/projects/mit-lookit"
    session = authorized_session(google)
    operation = session.post(f"{base}/instances/sick/backupRuns", json={}, timeout=LONGEST).json()

    def now() -> dict[str, Any]:
        found: dict[str, Any] = session.get(f"{base}/operations/{operation['name']}", timeout=LONGEST).json()
        return found

    until(lambda: now()["status"] == "DONE")
    assert now()["error"]["errors"][0]["message"] == "disk is gone"
    assert session.get(f"{base}/instances/none/backupRuns", timeout=LONGEST).status_code == 404


def test_slacks_webhook_takes_messages_and_refuses_when_told_to(slack: Receiver) -> None:
    slack.answers = [500]

    seen = [
        requests.post(slack.url, json=message, timeout=LONGEST)
        for message in ({"text": "a"}, {"text": "b"}, {})
    ]

    assert [answer.status_code for answer in seen] == [500, 200, 400]
    assert slack.messages == [{"text": "b"}]
    assert slack.requests == 3
