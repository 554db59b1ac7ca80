"""What Docker really leaves out of an image: plaintext planted in the build context is in no layer."""

import io
import os
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path

import pytest

from tests import docker_services, shared_service
from tests.builders import ROOT
from tests.canary import Canary
from tests.test_ignored import MUST_BE_IGNORED, MUST_NOT_BE_IGNORED

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker_engine")]
CANARY = Canary("canary-docker-Zq9-never-to-be-seen")


def test_an_engine_is_shared_and_outlives_its_other_users() -> None:
    program = "import os; from tests import docker_services\nwith docker_services.engine(): print(os.environ.get('DOCKER_HOST'))"
    others = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    run = {**others, "PYTEST_XDIST_TESTRUNUID": shared_service.RUN}

    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=run,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert other.stdout == f"{os.environ.get('DOCKER_HOST')}\n", other.stderr
    assert docker_services.succeeds("docker", "info")


def test_planted_plaintext_is_in_no_layer_and_ciphertext_is(tmp_path: Path) -> None:
    plant(tmp_path)
    image = f"lookit-test/context:{uuid.uuid4().hex[:8]}"
    subprocess.run(
        ["docker", "build", "-q", "-t", image, str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=240,
    )
    saved = subprocess.run(["docker", "save", image], check=True, capture_output=True, timeout=240).stdout
    subprocess.run(["docker", "rmi", image], check=True, capture_output=True, timeout=240)
    held = files_in(saved)
    assert [name for name, content in held.items() if CANARY.is_in(content)] == []
    assert {name for name in MUST_NOT_BE_IGNORED if name.endswith(".enc")} <= held.keys()


def plant(context: Path) -> None:
    """A build context with our .dockerignore, plaintext wherever it might lie, and ciphertext where it belongs."""
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (context / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    for path in MUST_BE_IGNORED:
        write(context / path, CANARY.value)
    for path in MUST_NOT_BE_IGNORED:
        write(context / path, "harmless")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files_in(saved: bytes) -> dict[str, bytes]:
    """Every file of every layer of a saved image, and the image's own descriptions."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(saved)) as image:
        for member in image.getmembers():
            content = image.extractfile(member)
            data = content.read() if content else b""
            found[f"image:{member.name}"] = data
            try:
                with tarfile.open(fileobj=io.BytesIO(data)) as layer:
                    for inner in layer.getmembers():
                        extracted = layer.extractfile(inner)
                        found[inner.name] = extracted.read() if extracted else b""
            except tarfile.ReadError:
                continue
    return found
