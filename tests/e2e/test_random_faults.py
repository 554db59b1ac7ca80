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


def a_task(draw: random.Random) -> list[str]:
    """A deploy of one of two commits, or a roll back."""
    if draw.random() < 0.25:
        return ["release.rollback", *ENVIRONMENT]
    options = draw.choice(([], ["--jobs"], ["--no-prune"], ["--no-rollback"]))
    return ["deploy", "--branch", "develop", "--commit", draw.choice("ab") * 40, *options]


def one_task(draw: random.Random, case: Case, proxy: FaultProxy) -> None:
    """Run a task over a line that misbehaves; it may fail, and may be told to end, but says how it was."""
    for _ in range(draw.randrange(4)):
        proxy.add(**{"pattern": draw.choice(REQUESTS), "times": draw.choice(TIMES), **draw.choice(FAULTS)})
    words, number = a_task(draw), draw.choice(SIGNALS)
    with case.started(*words) as running:
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
    free_the_lock(case, killed=number == signal.SIGKILL)


def free_the_lock(case: Case, *, killed: bool) -> None:
    """Nobody has the lock but who was killed, and the task for that gives it up."""
    leases = json.loads(case.kubectl("get", "leases", "-o", "json"))["items"]
    for holder in [
        lease["spec"]["holderIdentity"] for lease in leases if lease["spec"].get("holderIdentity")
    ]:
        assert killed, f"{holder} has ended, and has the lock"
        given_up = case.invoke("release.unlock", *ENVIRONMENT, "--by", holder, "--reason", "it was killed")
        assert given_up.code == 0, given_up.stderr


@pytest.mark.parametrize("seed", range(RUNS))
def test_what_comes_after_random_faults_and_signals_finishes(
    environment: Case, proxy: FaultProxy, seed: int
) -> None:
    draw, extra = random.Random(seed), False
    with environment.behind(proxy) as case:
        for _ in range(3):
            if draw.random() < 0.5:
                extra = not extra
                case.add(EXTRA) if extra else case.remove("ConfigMap", "extra")
            one_task(draw, case, proxy)
        deploy = ("deploy", "--branch", "develop", "--commit", "c" * 40)

        done, again = case.invoke(*deploy), case.invoke(*deploy)

        assert done.code == 0, done.stderr
        assert "staging is unchanged and ready" in again.stderr
        assert case.invoke("release.status", *ENVIRONMENT, "--exit-code").code == 0
        assert extra == (f"{case.name}-extra" in case.kubectl("get", "configmaps", "-o", "name"))
