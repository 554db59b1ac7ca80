"""What a deploy does about Jobs that an earlier deploy started and that have not ended."""

import json
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from tasks.lib.deploy.rollout.awaited import seconds_running
from tests.clock import patience
from tests.deployed import COMMIT_B, deploy, deployed, interrupt
from tests.heard import until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def migration(image: str, behaviour: str = "") -> Mapping[str, Any]:
    """A Job that ends well, or as `behaviour` says."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": f"example.invalid/{image}"}]}
    template = {"metadata": {"annotations": {"sandbox.lookit.org/behave": behaviour}}, "spec": pod}
    spec = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migration"}, "spec": spec}


def live(case: Case) -> Any:
    return json.loads(case.kubectl("get", "job", "migration", "-o", "json"))


def now() -> datetime:
    return datetime.now(UTC)


def interrupted_while_it_runs(case: Case) -> None:
    """Deploy a migration that does not end, and interrupt the deploy."""
    case.hold_only(migration("app:1", "hang"))
    done = deploy(case.hearing({"Job migration: running": partial(interrupt, signal.SIGINT)}))
    assert done.code == 130, done.stderr


def test_a_running_migration_ends_before_the_next_replaces_it(environment: Case) -> None:
    interrupted_while_it_runs(environment)
    first = live(environment)["metadata"]["uid"]
    environment.hold_only(migration("app:2"))

    planned = environment.invoke("plan", "--branch", "develop", "--commit", COMMIT_B)
    assert (
        "> Job migration (its image or configuration changed; the previous run is still running"
        in planned.stderr
    )

    def let_it_end() -> None:
        found = live(environment)["metadata"]
        assert (found["uid"], "deletionTimestamp" in found) == (first, False)
        environment.kubectl("annotate", "pods", "--all", "--overwrite", "sandbox.lookit.org/behave=")

    waits = "Job migration: waiting for the previous run to end: running"
    said = deployed(environment.hearing({waits: let_it_end}), commit=COMMIT_B)

    assert "Job migration: the previous run has ended (complete)" in said
    assert live(environment)["metadata"]["uid"] != first
    assert live(environment)["spec"]["template"]["spec"]["containers"][0]["image"] == "example.invalid/app:2"


def test_a_stuck_migration_is_refused_with_its_fix(
    environment: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.hold_only(migration("app:1", "hang"))
    over = {"Job migration: running": partial(patience(monkeypatch).sleep, 16 * 60)}
    late = deploy(environment.hearing(over))
    assert late.returncode == 70, late.stderr
    until(lambda: live(environment)["status"].get("ready") and seconds_running(live(environment), now()) > 1)
    stuck = live(environment)["metadata"]["uid"]
    environment.hold_only(migration("app:2"))

    refused = deploy(environment, commit=COMMIT_B, INVOKE_TIME_LIMITS_JOB="1s")

    assert refused.returncode == 1, refused.stderr
    assert "nothing was changed" in refused.stderr
    assert "ago, longer than time_limits.job (1.0 s)" in refused.stderr
    way_out = f"kubectl -n {environment.name} delete job migration"
    assert f"`{way_out}`" in refused.stderr
    assert live(environment)["metadata"]["uid"] == stuck
    environment.kubectl(*way_out.split()[3:])
    deployed(environment, commit=COMMIT_B)
