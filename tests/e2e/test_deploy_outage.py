"""The deploy while the control plane goes away under it, in a sandbox of its own."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import workspace
from tests.sandbox_case import Sandbox, make_case, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

COMMIT = "c" * 40


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("own") / "state") as sandbox:
        yield sandbox


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended without saying {text!r}:\n{said}")


def test_a_deploy_goes_on_when_the_api_server_comes_back(own: Sandbox, tmp_path: Path) -> None:
    case = make_case(own, tmp_path, "outage")
    slowly = {"sandbox.lookit.org/ready-after": "8s"}
    case.patch("Deployment", "web", {"spec": {"template": {"metadata": {"annotations": slowly}}}})
    process = case.start("deploy", "--branch", "develop", "--commit", COMMIT)
    read_until(process, "Deployment outage-web: 0 of 1 available")

    with own.without("lookit-staging.apiserver"):
        said = read_until(process, "The API server does not answer")
    _, rest = process.communicate(timeout=120)

    assert process.returncode == 0, said + rest
    assert "It answers again." in rest
    assert "staging is deployed: 32 of 32 objects changed" in rest


@pytest.mark.parametrize("moment", ["==> configuration", "==> jobs", "==> web"])
def test_a_deploy_that_was_killed_is_finished_by_the_next(own: Sandbox, tmp_path: Path, moment: str) -> None:
    name = f"killed-{moment[4:8].strip()}"
    case = make_case(own, tmp_path, name)
    process = case.start("deploy", "--branch", "develop", "--commit", COMMIT)
    read_until(process, moment)

    process.kill()
    process.wait(timeout=10)
    again = case.invoke("deploy", "--branch", "develop", "--commit", COMMIT)

    assert again.returncode == 0, again.stderr
    assert "staging is deployed" in again.stderr or "staging is unchanged" in again.stderr
    assert not list(workspace.memory_folder().glob(f"{workspace.PREFIX}{process.pid}-*"))
    ready: Any = json.loads(case.kubectl("get", "deployments", "-o", "json"))["items"]
    assert {thing["status"].get("availableReplicas") for thing in ready} == {1}
