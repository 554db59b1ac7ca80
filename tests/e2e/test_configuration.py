"""What a deploy makes of Secrets and ConfigMaps whose content changes under the same name."""

import json
from typing import Any

import pytest

from tests.deployed import COMMIT_A, deployed
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


def test_a_key_that_is_gone_from_string_data_goes(environment: Case) -> None:
    environment.hold_only(secret(KEEP="only-for-tests-one", OLD_TOKEN="only-for-tests-two"))
    deployed(environment)
    environment.hold_only(secret(KEEP="only-for-tests-one"))

    planned = environment.invoke("plan", "--branch", "develop", "--commit", COMMIT_A)
    deployed(environment)

    assert "~ Secret app\n      - data.OLD_TOKEN: [redacted]\n" in planned.stderr
    live = json.loads(environment.kubectl("get", "secret", "app", "-o", "json"))
    assert list(live["data"]) == ["KEEP"]
