"""Fixtures of the tests that run against the sandbox."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import real_node, real_site
from tests.fault_proxy import FaultProxy, in_front_of
from tests.real_node import Node
from tests.real_site import Site
from tests.sandbox_case import Case, Sandbox, corner, shared
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
    with corner(sandbox, tmp_path) as case:
        yield case


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


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A real node for containers of the probe; for tests of the xdist_group node, which test_taking_down.py ends."""
    with real_node.node_of_probes(tmp_path_factory.mktemp("node")) as made:
        yield made


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Lookit's site on a real node, as a rehearsal deploys it; for the xdist_group site, which ends like `node`."""
    with real_site.real_site(tmp_path_factory.mktemp("site")) as made:
        yield made
