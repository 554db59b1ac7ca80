"""What a deploy makes of Secrets and ConfigMaps whose content changes under the same name."""

import json
from typing import Any

import pytest

from tests.deployed import COMMIT_A, deploy, deployed
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def secret(**values: str) -> dict[str, Any]:
    metadata = {"name": "app"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "stringData": values,
    }


def web() -> dict[str, Any]:
    """A Deployment whose pods have the Secret's keys in their environment."""
    labels = {"app": "web"}
    container = {"name": "web", "image": "example.invalid/app:1", "envFrom": [{"secretRef": {"name": "app"}}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def pods(case: Case) -> set[str]:
    return set(case.kubectl("get", "pods", "-o", "name").split())


def test_what_reads_a_changed_secret_is_named_or_restarted(environment: Case) -> None:
    environment.hold_only(secret(PASSWORD="only-for-tests-one"), web())
    deployed(environment)
    before = pods(environment)

    environment.hold_only(secret(PASSWORD="only-for-tests-two"), web())
    planned = environment.invoke("plan", "--branch", "develop", "--commit", COMMIT_A)
    said = deployed(environment)

    command = f"kubectl -n {environment.name} rollout restart deployment/web"
    assert command in planned.stderr
    assert said.count(command) == 2
    assert pods(environment) == before

    environment.hold_only(secret(PASSWORD="only-for-tests-three"), web())
    done = deploy(environment, INVOKE_DEPLOY_RESTART_READERS="1")
    assert done.returncode == 0, done.stderr
    assert command not in done.stderr
    assert not pods(environment) & before


def test_a_key_that_is_gone_from_string_data_goes(environment: Case) -> None:
    environment.hold_only(secret(KEEP="only-for-tests-one", OLD_TOKEN="only-for-tests-two"))
    deployed(environment)
    environment.hold_only(secret(KEEP="only-for-tests-one"))

    planned = environment.invoke("plan", "--branch", "develop", "--commit", COMMIT_A)
    deployed(environment)

    assert "~ Secret app\n      - data.OLD_TOKEN: [redacted]\n" in planned.stderr
    live = json.loads(environment.kubectl("get", "secret", "app", "-o", "json"))
    assert list(live["data"]) == ["KEEP"]
