"""The deploy while the control plane goes away, or grants less, in a sandbox of its own."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.lib import build_variables, workspace
from tasks.lib.cluster.connection import connect
from tasks.lib.cluster.permissions import Permission
from tasks.lib.cluster.role import manifest
from tasks.lib.deploy.engine import needed
from tasks.lib.deploy.objects import wanted
from tasks.lib.render.rendering import render
from tasks.lib.sandbox.kms.access import DEPLOYER
from tasks.lib.secrets.decryption import decrypt_all
from tasks.lib.settings.model import Settings
from tests.builders import ROOT
from tests.sandbox_case import Sandbox, make_case, running

# One worker for all of it: each one that has a part in it brings a sandbox of its own up.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(480),
    pytest.mark.xdist_group("deploy_outage"),
]

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


@pytest.mark.parametrize(
    "moment", ["==> preflight", "==> configuration", "==> database", "==> jobs", "==> web", "==> ingress"]
)
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


@pytest.mark.parametrize("moment", ["==> evidence", "==> back to release 1", "==> removal"])
def test_a_deploy_that_was_killed_while_clearing_up_is_finished_by_the_next(
    own: Sandbox, tmp_path: Path, moment: str
) -> None:
    case = make_case(own, tmp_path, f"killed-{moment[4:8].strip()}")
    case.add(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "extra"},
            "spec": {"ports": [{"port": 80}]},
        }
    )
    assert case.invoke("deploy", "--branch", "develop", "--commit", COMMIT).returncode == 0
    case.remove("Service", "extra")
    if moment != "==> removal":
        case.behave("Deployment", "web", "crash-loop")
    process = case.start("deploy", "--branch", "develop", "--commit", "d" * 40)
    read_until(process, moment)

    process.kill()
    process.wait(timeout=10)
    case.behave("Deployment", "web", "")
    again = case.invoke("deploy", "--branch", "develop", "--commit", COMMIT)

    assert again.returncode == 0, again.stderr
    assert not list(workspace.memory_folder().glob(f"{workspace.PREFIX}{process.pid}-*"))
    web = json.loads(case.kubectl("get", "deployment", f"{case.name}-web", "-o", "json"))
    assert web["spec"]["template"]["spec"]["containers"][0]["image"].endswith(COMMIT)
    assert web["status"]["availableReplicas"] == 1
    assert f"{case.name}-extra" not in case.kubectl("get", "services", "-o", "name")
    assert case.kubectl("get", "leases", "-o", "name") == ""


def needed_by(settings: Settings) -> list[Permission]:
    """What deploying staging takes, with the kinds as the cluster itself names them."""
    environment = settings.environment("staging")
    variables = build_variables.read(settings, environment, commit=COMMIT)
    rendered = render(settings, environment, variables, decrypt_all(settings, environment))
    connection = connect(settings, environment)
    contents = [document.content for document in rendered.documents]
    return needed(connection, environment, wanted(contents, connection.kinds, environment.namespace))


def test_the_documented_role_is_what_a_deploy_to_staging_needs(own: Sandbox) -> None:
    documents = manifest(needed_by(own.overlaid({})), "deployer@mit-lookit.iam.gserviceaccount.com")
    page = ROOT / "docs/deployer-role.yaml"
    said = "\n".join(line for line in page.read_text().splitlines() if not line.startswith("#"))
    assert list(yaml.safe_load_all(said)) == documents, yaml.safe_dump_all(documents, sort_keys=False)


def test_a_deployer_with_just_that_role_can_deploy_and_with_less_is_told_what_is_missing(
    own: Sandbox, tmp_path: Path
) -> None:
    case = make_case(own, tmp_path, "least")
    documents = manifest(needed_by(case.settings), DEPLOYER)
    (tmp_path / "role.yaml").write_text(yaml.safe_dump_all(documents))
    everything = case.kubectl("get", "clusterrolebinding", "sandbox-deployer", "-o", "yaml")
    (tmp_path / "everything.yaml").write_text(everything)
    case.kubectl("delete", "clusterrolebinding", "sandbox-deployer")
    try:
        refused = case.invoke("deploy", "--branch", "develop", "--commit", COMMIT)
        case.kubectl("apply", "-f", str(tmp_path / "role.yaml"))
        done = case.invoke("deploy", "--branch", "develop", "--commit", COMMIT)
    finally:
        case.kubectl("create", "-f", str(tmp_path / "everything.yaml"))

    assert refused.returncode == 1
    assert "403" in refused.stderr or "may not patch deployments.apps in namespace least" in refused.stderr
    assert done.returncode == 0, done.stderr
