"""The whole chain of cloudbuild.yaml against the sandbox, a real engine, PostgreSQL and registry."""

import json
import re
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sandbox import image_registry
from tests.builders import checked_in_settings
from tests.debian import require
from tests.docker_services import (
    ORCHESTRATOR,
    RegistryProcess,
    docker_client_image,
    made_by,
    output,
)
from tests.lib.image.memory_registry import resolve_digest
from tests.sample_checkout import Ran, Sample, ran, sample_apart
from tests.sandbox_case import Case, merged

pytestmark = [
    pytest.mark.docker,
    pytest.mark.e2e,
    pytest.mark.timeout(900, func_only=True),
]


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
