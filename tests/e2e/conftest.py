"""Fixtures of the tests that run against the sandbox."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault_proxy import FaultProxy, in_front_of
from tests.sandbox_case import Case, Sandbox, make_case, shared
from tests.webhook import Receiver, receiving


@pytest.fixture(scope="session")
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """One sandbox for the whole run, with the staging cluster, whichever worker asks."""
    run = getattr(request.config, "workerinput", {}).get("testrunuid", f"single-{os.getpid()}")
    with shared(run) as up:
        yield up


@pytest.fixture
def environment(sandbox: Sandbox, tmp_path: Path) -> Iterator[Case]:
    """A namespace, a prefix, a tree and a bucket of this test's own; see tests/sandbox_case.py."""
    case = make_case(sandbox, tmp_path, f"t{uuid.uuid4().hex[:8]}")
    yield case
    case.api.delete(f"/api/v1/namespaces/{case.name}")


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[FaultProxy]:
    """A proxy before the staging cluster's API server; `environment.behind(proxy)` sends a test through it."""
    port = sandbox.port("lookit-staging.apiserver")
    with in_front_of(port, sandbox.state.cluster("lookit-staging")) as running:
        yield running


@pytest.fixture
def slack() -> Iterator[Receiver]:
    """A receiver of Slack's webhooks."""
    with receiving() as receiver:
        yield receiver
