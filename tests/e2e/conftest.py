"""Fixtures of the tests that run against the sandbox."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox_case import Case, Sandbox, make_case, shared


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
