"""The deploy while the cluster's etcd is full, in a sandbox of its own with a small quota."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.test_deploy import COMMIT_A, COMMIT_B, deploy, deployed, plaintext_left, read_until
from tests.sandbox_case import Case, Sandbox, fill_etcd, make_case, running

# One worker for all of it: each one that has a part in it brings a sandbox of its own up.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(480),
    pytest.mark.xdist_group("deploy_full"),
]

FULL = "database space exceeded"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(
        tmp_path_factory.mktemp("small") / "state", sandbox={"etcd_quota_bytes": 40_000_000}
    ) as sandbox:
        yield sandbox


def make_room(case: Case) -> None:
    """What an administrator of etcd does: delete, compact, defragment, disarm."""
    names = case.kubectl("get", "configmaps", "-o", "name").split()
    case.kubectl("delete", *(name for name in names if "/fill-" in name))
    port = case.sandbox.port("lookit-staging.etcd")
    etcd = f"http://127.0.0.1:{port}/v3"

    def ask(path: str, **body: object) -> Any:
        answer = requests.post(f"{etcd}/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    revision = ask("maintenance/status")["header"]["revision"]
    ask("kv/compaction", revision=revision, physical=True)
    ask("maintenance/defragment")
    for alarm in ask("maintenance/alarm", action="GET", alarm="NOSPACE")["alarms"]:
        ask("maintenance/alarm", action="DEACTIVATE", **alarm)


def test_a_full_store_ends_the_deploy_at_once_and_a_rerun_finishes(small: Sandbox, tmp_path: Path) -> None:
    case = make_case(small, tmp_path, "full-before")
    fill_etcd(case.api, case.name)

    done = deploy(case)

    assert done.returncode == 1
    assert FULL in done.stderr
    assert "The cluster's own store is full" in done.stderr
    assert "Nothing was changed in the cluster." in done.stderr
    make_room(case)
    deployed(case)


def test_a_store_that_fills_up_on_the_way_ends_the_deploy_and_a_rerun_finishes(
    small: Sandbox, tmp_path: Path
) -> None:
    case = make_case(small, tmp_path, "full-within")
    deployed(case)
    slowly = {"sandbox.lookit.org/ready-after": "10s"}
    case.patch(
        "StatefulSet", "lookit-rabbitmq", {"spec": {"template": {"metadata": {"annotations": slowly}}}}
    )
    process = case.start(
        "deploy", "--branch", "develop", "--commit", COMMIT_B,
        INVOKE_TIME_LIMITS_ROLLOUT="12s", INVOKE_TIME_LIMITS_ROLLBACK="12s",
    )  # fmt: skip
    said = read_until(process, f"StatefulSet {case.name}-lookit-rabbitmq: changed")
    fill_etcd(case.api, case.name)
    _, rest = process.communicate(timeout=150)

    assert process.returncode in {1, 70}, said + rest
    assert FULL in rest
    assert "The roll back to release 1 failed as well" in rest
    assert "Traceback" not in rest
    assert not [folder for folder in plaintext_left() if f"-{process.pid}-" in folder.name]
    make_room(case)
    with small.without("lookit-staging.kwok"):
        pass  # unlike a kubelet, it tries a status that was refused again only after its own start
    assert "staging is deployed" in deployed(case, commit=COMMIT_A)
