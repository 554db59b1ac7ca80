"""Deploys over a line with random faults, told to end at random moments.

Each ends in words, and what comes after all that finishes.  LOOKIT_DEPLOY_FAULT_RUNS=100 makes as many runs as that;
by default there are a few.
"""

import json
import os
import random
import signal
import subprocess
from contextlib import suppress
from typing import Any

import pytest

from tests.deployed import deployed, objects, words, workload
from tests.fault_proxy import WATCH, FaultProxy
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RUNS = int(os.environ.get("LOOKIT_DEPLOY_FAULT_RUNS", "3"))
REQUESTS = (
    "GET ",
    "POST ",
    "PATCH ",
    "DELETE ",
    "leases",
    "/jobs",
    "/deployments",
    "/secrets",
    "/pods",
    WATCH,
)
FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 503},
    {"status": 429, "retry_after": 1},
    {"drop": True},
    {"drop": True, "applied": True},
    {"latency": 0.5},
    {"latency": 2.0},
    {"pattern": WATCH, "gone": True},
    {"pattern": WATCH, "cut_after": 0.3},
)
TIMES = (1, 1, 2, 3, 5)
SIGNALS = (None, None, signal.SIGTERM, signal.SIGTERM, signal.SIGKILL)
ENVIRONMENT = ("--environment", "staging")
LONGEST = 240.0  # seconds
EXTRA = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"a": "b"}}
VERSION = "example.org/version"


def tree(version: str) -> list[dict[str, Any]]:
    """One object of each kind that a deploy treats in a way of its own; all of them change with the version."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": f"app:{version}"}]}
    job = {"template": {"spec": pod}}
    things: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"version": version}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"version": version}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migration"}, "spec": job},
        workload("web"),
        workload("queue", kind="StatefulSet"),
    ]
    for one in things[-2:]:
        one["spec"]["template"]["metadata"]["annotations"][VERSION] = version
    return things


def a_task(draw: random.Random, case: Case, others: list[dict[str, Any]]) -> list[str]:
    """A deploy of one of two versions, or a roll back."""
    if draw.random() < 0.25:
        return ["release.rollback", *ENVIRONMENT]
    version = draw.choice("ab")
    case.hold_only(*tree(version), *others)
    return [*words(version * 40), *draw.choice(([], ["--jobs"], ["--no-prune"], ["--no-rollback"]))]


def one_task(draw: random.Random, case: Case, proxy: FaultProxy, others: list[dict[str, Any]]) -> None:
    """Run a task over a line that misbehaves; it may fail, and may be told to end, but says how it was."""
    for _ in range(draw.randrange(4)):
        proxy.add(**{"pattern": draw.choice(REQUESTS), "times": draw.choice(TIMES), **draw.choice(FAULTS)})
    task, number = a_task(draw, case, others), draw.choice(SIGNALS)
    with case.started(*task) as running:
        if number:
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(draw.uniform(0.1, 8.0))
            running.send(number)
        code, stderr = running.end(LONGEST), running.said
    proxy.clear()
    assert "Traceback" not in stderr, stderr
    told_to_end = {-number, 128 + number} if number else set()
    nothing_before = {2} if "There is no release that went well before" in stderr else set()
    assert code in {0, 1, 70} | told_to_end | nothing_before, stderr
    assert code not in {1, 70} or "why:" in stderr or "next:" in stderr, stderr
    free_the_lock(case, keeps_it=number == signal.SIGKILL or "The lock could not be released" in stderr)


def free_the_lock(case: Case, *, keeps_it: bool) -> None:
    """Nobody has the lock but who was killed, or said that the faults kept it from giving it back."""
    leases = json.loads(case.kubectl("get", "leases", "-o", "json"))["items"]
    for holder in [
        lease["spec"]["holderIdentity"] for lease in leases if lease["spec"].get("holderIdentity")
    ]:
        assert keeps_it, f"{holder} has ended, and has the lock"
        given_up = case.invoke("release.unlock", *ENVIRONMENT, "--by", holder, "--reason", "it was killed")
        assert given_up.code == 0, given_up.stderr


@pytest.mark.parametrize("seed", range(RUNS))
def test_what_comes_after_random_faults_and_signals_finishes(
    environment: Case, proxy: FaultProxy, seed: int
) -> None:
    draw, others = random.Random(seed), list[dict[str, Any]]()
    with environment.behind(proxy) as case:
        for _ in range(3):
            if draw.random() < 0.5:
                others = [] if others else [EXTRA]
            one_task(draw, case, proxy, others)
        case.hold_only(*tree("c"), *others)

        deployed(case, commit="c" * 40)

        assert "staging is unchanged and ready" in deployed(case, commit="c" * 40)
        status = case.invoke("release.status", *ENVIRONMENT, "--exit-code")
        assert status.code == 0, status.stderr
        assert bool(others) == ("ConfigMap/extra" in objects(case, "configmaps"))
