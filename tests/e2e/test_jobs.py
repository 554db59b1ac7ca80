"""What a deploy does about Jobs that an earlier deploy started and that have not ended."""

import json
import signal
from collections.abc import Mapping
from typing import Any

import pytest

from tests.deployed import COMMIT_A, COMMIT_B, deploy, deployed, words
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


def interrupted_while_it_runs(case: Case) -> None:
    """Deploy a migration that does not end, and interrupt the deploy."""
    case.hold_only(migration("app:1", "hang"))
    with case.started(*words(COMMIT_A)) as deploying:
        deploying.moment_of("Job migration: running")
        deploying.send(signal.SIGINT)
        assert deploying.end() == 130


def test_a_running_migration_ends_before_the_next_replaces_it(environment: Case) -> None:
    interrupted_while_it_runs(environment)
    first = live(environment)["metadata"]["uid"]
    environment.hold_only(migration("app:2"))

    planned = environment.invoke("plan", "--branch", "develop", "--commit", COMMIT_B)
    assert (
        "> Job migration (its image or configuration changed; the previous run is still running"
        in planned.stderr
    )
    with environment.started(*words(COMMIT_B)) as deploying:
        deploying.moment_of("Job migration: waiting for the previous run to end: running")
        assert live(environment)["metadata"]["uid"] == first
        assert "deletionTimestamp" not in live(environment)["metadata"]
        environment.kubectl("annotate", "pods", "--all", "--overwrite", "sandbox.lookit.org/behave=")
        assert deploying.end() == 0, deploying.said

    assert "Job migration: the previous run has ended (complete)" in deploying.said
    assert live(environment)["metadata"]["uid"] != first
    assert live(environment)["spec"]["template"]["spec"]["containers"][0]["image"] == "example.invalid/app:2"


def test_a_stuck_migration_is_refused_with_its_fix(environment: Case) -> None:
    environment.hold_only(migration("app:1", "hang"))
    late = deploy(environment, INVOKE_TIME_LIMITS_JOB="3s")
    assert late.returncode == 70, late.stderr
    until(lambda: live(environment)["status"].get("ready"))
    stuck = live(environment)["metadata"]["uid"]
    environment.hold_only(migration("app:2"))

    refused = deploy(environment, commit=COMMIT_B, INVOKE_TIME_LIMITS_JOB="3s")

    assert refused.returncode == 1, refused.stderr
    assert "nothing was changed" in refused.stderr
    assert "ago, longer than time_limits.job (3.0 s)" in refused.stderr
    way_out = f"kubectl -n {environment.name} delete job migration"
    assert f"`{way_out}`" in refused.stderr
    assert live(environment)["metadata"]["uid"] == stuck
    environment.kubectl(*way_out.split()[3:])
    deployed(environment, commit=COMMIT_B)
