"""The image that Cloud Build's steps run in, deploying as the user without rights that it is made for."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import overlay
from tasks.lib.image import digest
from tasks.lib.image.reference import parse
from tasks.lib.image.registry import connect
from tasks.lib.pipeline import containers
from tests.builders import ROOT, checked_in_settings
from tests.docker_services import (
    BASE,
    CLIENT,
    ORCHESTRATOR,
    RegistryProcess,
    docker_client_image,
    output,
)
from tests.sandbox_case import Case, merged

pytestmark = [
    pytest.mark.docker,
    pytest.mark.e2e,
    pytest.mark.xdist_group("orchestrator_image"),  # they build the same image
    pytest.mark.timeout(900, func_only=True),
]

COMMIT = "c" * 40
HOME = "/builder/home"  # root's, as the workspace is
GIVEN = {
    "BUILD_ID": "a-build", "COMMIT_SHA": COMMIT, "SHORT_SHA": COMMIT[:7], "REPO_NAME": "lookit-api",
    "BRANCH_NAME": "develop", "TAG_NAME": "",
}  # fmt: skip


@dataclass(frozen=True)
class Image:
    """The image, and what one test gives its containers to read."""

    name: str
    case: Case

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """`docker run IMAGE …` with Cloud Build's variables, and the sandbox in the place of Google."""
        given = self.case.folder / "given"
        _copy(self.case, given)
        return subprocess.run(
            ["docker", "run", "--rm", "--network", "host", "--mount", f"type=bind,source={given},target=/given,readonly",
             *(f"--mount=type=tmpfs,target={folder},tmpfs-mode=0755" for folder in ("/workspace", HOME)),
             *(f"--env={name}={value}" for name, value in {**GIVEN, "HOME": HOME, **variables}.items()),
             self.name, "-f", "/given/settings.yaml", *arguments],
            env=os.environ, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip


def _copy(case: Case, given: Path) -> None:
    """What a deploy reads, where anybody may read it: the sandbox's own files belong to who runs it."""
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir()
    state = case.sandbox.state
    shutil.copytree(case.tree, given / "kubernetes")
    shutil.copytree(state.ciphertexts("staging"), given / "ciphertexts")
    shutil.copy(state.key_file("deployer"), given / "deployer.json")
    shutil.copy(state.tls / "ca.crt", given / "ca.crt")
    here = merged(overlay.values(state, ["staging"]), overlay.image_values(case.values))
    own: dict[str, Any] = {
        "google": {"credentials_file": "/given/deployer.json", "ca_file": "/given/ca.crt"},
        "environments": {"staging": {"secrets": {"ciphertexts": "/given/ciphertexts"}}},
        "kustomize": {"tree": "/given/kubernetes"},
    }
    settings = merged(merged(case.values, here), own)
    (given / "settings.yaml").write_text(yaml.safe_dump(settings))
    for path in given.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def image(docker_engine: None, environment: Case) -> Image:
    own = "lookit-test/orchestrator"
    built = {"arguments": ORCHESTRATOR, "orchestrator": own}
    containers.build_own_images(
        checked_in_settings(build={"network": "host"}, pipeline=built), [f"{own}:deploy"]
    )
    return Image(f"{own}:deploy", environment)


def test_the_image_deploys_as_an_unprivileged_user(image: Image) -> None:
    done = image.run("deploy", "--branch", "develop")

    assert done.returncode == 0, done.stderr
    items = json.loads(image.case.kubectl("get", "deployments,statefulsets,jobs", "-o", "json"))["items"]
    images = {container["image"] for container in digest.containers(items)}
    own = {name for name in images if name.startswith("gcr.io/mit-lookit/lookit")}
    assert own == {f"gcr.io/mit-lookit/lookit:{COMMIT}"}
    config = json.loads(output("docker", "image", "inspect", image.name))[0]["Config"]
    assert config["User"] == "10001:10001"


def test_it_uploads_where_it_may_keep_nothing(image: Image) -> None:
    app = image.case.tree / "app"
    app.mkdir()
    (app / "index.html").write_text("<html><head></head></html>")

    done = image.run(
        "upload", "--environment", "staging", "--archive", "/given/kubernetes/app", "--prefix", "experiments/x",
        INVOKE_EMBER_RESUMABLE_ABOVE="1B",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "1 sent" in done.stderr


def test_a_failed_deploy_in_the_image_keeps_its_exit_code(image: Image) -> None:
    image.case.behave("Job", "migration", "job-fail", logs="django.db.utils.ProgrammingError: no such column")
    image.case.patch("Job", "migration", {"spec": {"backoffLimit": 0}})

    done = image.run("deploy", "--branch", "develop")

    assert done.returncode == 1
    assert "no such column" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_image_contains_no_gcloud_docker_or_pip(image: Image) -> None:
    """Only the stage with Docker's client has it; a deploy needs none of these, and no plugin either."""
    found = output(
        "docker", "run", "--rm", "--entrypoint", "sh", image.name, "-c",
        "for name in kubectl sentry-cli gcloud docker pip gke-gcloud-auth-plugin; do command -v $name || true; done",
    )  # fmt: skip

    assert found.split() == ["/opt/venv/bin/kubectl", "/opt/venv/bin/sentry-cli"]


@pytest.fixture
def builder(docker_engine: None, tmp_path: Path) -> str:
    """An image that does what Google's builder with Docker in it does for this repository's own build file."""
    name = "lookit-test/cloud-builder:local"
    docker_client_image()
    (tmp_path / "builder").mkdir()
    (tmp_path / "builder" / "Dockerfile").write_text(
        f'FROM {BASE}:local\nCOPY --from={CLIENT}:local /usr/local/bin/docker /bin/\nENTRYPOINT ["docker"]\n'
    )
    output("docker", "build", "--quiet", "--tag", name, str(tmp_path / "builder"))
    return name


def test_its_build_file_builds_tries_and_pushes_both_stages(
    builder: str, shared_registry: RegistryProcess, tmp_path: Path
) -> None:
    """All but the step that runs lint and tests: here they run already."""
    content = yaml.safe_load((ROOT / "cloudbuild.orchestrator.yaml").read_text())
    file = tmp_path / "cloudbuild.yaml"
    file.write_text(yaml.safe_dump({**content, "steps": content["steps"][1:]}))
    image = f"{shared_registry.address}/{uuid.uuid4().hex}/orchestrator"
    head = output("git", "-C", str(ROOT), "rev-parse", "HEAD").strip()
    given = {
        **{f"_{name}": value for name, value in ORCHESTRATOR.items()},
        "_IMAGE": image,
        "_BUILDER": builder,
    }

    done = subprocess.run(
        [sys.executable, "-m", "tasks", "pipeline", "--branch", "develop", "--source", str(ROOT), "--file", str(file),
         "--json", *(f"--substitution={name}={value}" for name, value in given.items())],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert {step["step"]: step["state"] for step in json.loads(done.stdout)} == dict.fromkeys(
        ["build", "build-docker", "try"], "SUCCESS"
    )
    tags = connect(checked_in_settings(), shared_registry.address).tags(parse(image))
    assert sorted(tags) == sorted([head, f"{head}-docker", "stable", "stable-docker"])
