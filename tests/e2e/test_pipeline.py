"""The whole chain of cloudbuild.yaml against the sandbox, a real engine, PostgreSQL and registry."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import image_registry
from tests.builders import ROOT, checked_in_settings
from tests.debian import require
from tests.docker_services import (
    ORCHESTRATOR,
    RegistryProcess,
    docker_client_image,
    made_by,
    output,
    registry,
)
from tests.lib.image.memory_registry import resolve_digest
from tests.sample_checkout import Ran, Sample, ran, sample, sample_apart
from tests.sandbox_case import Case, merged

pytestmark = [
    pytest.mark.docker,
    pytest.mark.e2e,
    pytest.mark.timeout(900, func_only=True),
]

FAILING_TEST = (
    "from django.test import TestCase\nclass T(TestCase):\n    def test_it(self): self.fail('as it should')\n"
)


@dataclass
class Chain:
    """The chain for one test: a checkout of the sample, a corner of the sandbox, a repository of its own."""

    checkout: Sample
    case: Case
    repository: str

    def run(self, *options: str) -> Ran:
        """Run `pipeline` as a person does."""
        own = {
            "sandbox": {"state": str(self.case.sandbox.state.folder)},
            "image": {"repository": self.repository},
            "test": {"database_image": "lookit-test/postgres:local"},
            "build": {"network": "host"},
            "pipeline": {
                "arguments": ORCHESTRATOR, "mounts": [str(self.case.folder)],
                "artifacts": str(self.case.folder / "artifacts"),
            },
        }  # fmt: skip
        settings = self.case.folder / "pipeline.yaml"
        settings.write_text(yaml.safe_dump(merged(self.case.values, own)))
        return ran(
            [sys.executable, "-m", "tasks", "-f", str(settings), "pipeline", "--branch", "develop", "--sandbox",
             "--source", str(self.checkout.folder), "--substitution", "_EMBER_ARCHIVE=ember", "--json", *options],
            {}, 800,
        )  # fmt: skip

    def states(self, *options: str) -> dict[str, str]:
        """How each step ended, by its id, where the run ended red."""
        done = self.run("--no-docker", *options)
        assert done.returncode == 1, done.stderr
        return table(done.stderr)

    def kept(self) -> set[str]:
        """The names of the files that the newest run kept on this machine."""
        newest = max((self.case.folder / "artifacts").iterdir())
        return {path.name for path in newest.rglob("*") if path.is_file()}

    def uploaded(self, done: Ran) -> set[str]:
        """The names of the files that a failed deploy copied to the bucket of reports."""
        told = re.search(r"files of the support bundle to gs://([^/]+)/(\S+)\.", done.stderr)
        assert told, done.stderr
        url = f"{self.case.settings.google.storage}/storage/v1/b/{told[1]}/o?prefix={told[2]}/"
        with urllib.request.urlopen(url) as answer:
            return {item["name"].rpartition("/")[2] for item in json.load(answer)["items"]}

    def images(self, kinds: str = "deployments,statefulsets,jobs") -> set[str]:
        """The application's images in the cluster."""
        pods = json.loads(self.case.kubectl("get", kinds, "-o", "json"))["items"]
        every = [c["image"] for pod in pods for c in pod["spec"]["template"]["spec"]["containers"]]
        return {image for image in every if image.startswith(self.repository)}


def table(stderr: str) -> dict[str, str]:
    """The rows of the closing table: the step's id and its result."""
    rows = [
        line.split("│") for line in stderr.rpartition("Pipeline\n")[2].splitlines() if line.startswith("│")
    ]
    return {row[1].split('"')[1]: row[2].strip() for row in rows}


@pytest.fixture
def chain(environment: Case, shared_registry: RegistryProcess, tmp_path: Path) -> Chain:
    checkout = sample_apart(tmp_path / "lookit-api")
    return Chain(checkout, environment, f"{shared_registry.address}/{environment.name}/{checkout.image}")


def assert_released(chain: Chain, done: Ran) -> None:
    """Everything that the chain is for has happened."""
    assert done.returncode == 0, done.stderr
    steps = {step["step"]: step["state"] for step in json.loads(done.stdout)}
    assert steps == dict.fromkeys(
        ["build", "test", "push", "reports", "deploy", "upload", "sentry"], "SUCCESS"
    )
    assert "Ran 3 tests" in done.stderr
    tagged = f"{chain.repository}:{chain.checkout.head}"
    digest = resolve_digest(checked_in_settings(), tagged)
    assert chain.images() == {f"{tagged}@{digest}"}
    assert "experiments/sample/index.html" in done.stderr


def test_the_chain_builds_tests_pushes_deploys_by_digest_and_uploads(chain: Chain) -> None:
    """One command: where the settings' registry is out in the world, the sandbox's own takes its place."""
    require("docker-registry", "docker-registry")
    path = f"mit-lookit/{chain.checkout.image}"
    chain.repository = f"gcr.io/{path}"

    done = chain.run("--no-docker")

    chain.repository = f"{image_registry.address(chain.case.sandbox.state)}/{path}"
    assert f"Images go to the sandbox's registry, {chain.repository}." in done.stderr
    assert_released(chain, done)


@pytest.mark.xdist_group("orchestrator_image")  # whose layers it builds on
def test_the_pipeline_deploys_one_commit_and_rolls_back_another(chain: Chain) -> None:
    docker_client_image()

    released = chain.run()

    assert_released(chain, released)
    config = json.loads(output("docker", "image", "inspect", "gcr.io/mit-lookit/lookit-orchestrator:stable"))
    assert config[0]["Config"]["User"] == "10001:10001"
    assert made_by(released.pid) == set()
    assert chain.kept() == {"deploy.json", "deploy.html"}

    chain.checkout.commit(notes_DOT_txt="the next commit\n")
    chain.case.behave(
        "Deployment", "web", "crash-loop", logs="django.db.utils.ProgrammingError: no such column"
    )
    first = chain.images("deployments,statefulsets")
    failed = chain.run("--from", "build")

    states = table(failed.stderr)
    assert (failed.returncode, states["push"], states["deploy"]) == (1, "SUCCESS", "FAILURE (exit code 1)")
    assert states["sentry"] == "NOT RUN"
    assert "no such column" in failed.stderr
    assert "Rolled the changed objects back to release 1." in failed.stderr
    assert chain.images("deployments,statefulsets") == first
    assert {"deploy.json", "record.json", "events.txt"} <= chain.kept()
    assert {"deploy.json", "record.json"} <= chain.uploaded(failed)


def test_a_failing_unit_test_stops_it_at_test(chain: Chain) -> None:
    chain.checkout.commit(studies__tests_DOT_py=FAILING_TEST)

    states = chain.states()

    assert states["test"] == "FAILURE (exit code 1)"
    assert [states[step] for step in ("push", "deploy", "upload", "sentry")] == ["NOT RUN"] * 4


def test_a_failing_build_stops_it_at_build(chain: Chain) -> None:
    chain.checkout.commit(Dockerfile="FROM lookit-test/base:local\nRUN exit 3\n")

    states = chain.states()

    assert states["build"] == "FAILURE (exit code 1)"
    assert [states[step] for step in ("test", "push", "deploy", "upload", "sentry")] == ["NOT RUN"] * 5


def test_a_registry_that_is_down_stops_it_at_push(chain: Chain, registry_process: RegistryProcess) -> None:
    registry_process.stop()
    chain.repository = f"{registry_process.address}/{chain.checkout.image}"

    states = chain.states("--from", "build")

    assert (states["build"], states["push"]) == ("SUCCESS", "FAILURE (exit code 1)")
    assert states["deploy"] == "NOT RUN"


def test_a_refused_push_stops_it_at_push(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> None:
    with registry(tmp_path_factory.mktemp("read-only"), read_only=True) as closed:
        chain.repository = f"{closed.address}/{chain.checkout.image}"

        states = chain.states("--from", "build")

    assert (states["build"], states["push"]) == ("SUCCESS", "FAILURE (exit code 1)")
    assert states["deploy"] == "NOT RUN"


def test_where_no_sandbox_is_up_one_is_brought_up(tmp_path: Path) -> None:
    """A file is what it uploads, so that no step needs Docker."""
    checkout = sample(tmp_path / "lookit-api")
    own = {**os.environ, "INVOKE_SANDBOX_STATE": str(tmp_path / "sandbox")}
    argv = [sys.executable, "-m", "tasks"]
    options = ["--source", str(checkout.folder), "--substitution", "_EMBER_ARCHIVE=ember", "--only", "upload"]
    try:
        done = subprocess.run(
            [*argv, "pipeline", "--branch", "develop", "--sandbox", "--no-docker", *options],
            cwd=ROOT, env=own, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    finally:
        subprocess.run([*argv, "sandbox.down"], cwd=ROOT, env=own, check=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert "==> Sandbox" in done.stderr
    assert "experiments/sample/index.html" in done.stderr


def test_one_step_alone_runs_without_the_others(chain: Chain) -> None:
    done = chain.run("--no-docker", "--only", "upload")

    assert done.returncode == 0, done.stderr
    steps: list[dict[str, Any]] = json.loads(done.stdout)
    assert {step["step"] for step in steps if step["state"] == "SUCCESS"} == {"upload"}
    assert {step["state"] for step in steps} == {"SUCCESS", "SKIPPED"}
