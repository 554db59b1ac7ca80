"""`nox -s digests`, without the publishers."""

import hashlib
import json
from pathlib import Path

import pytest

from sandbox import downloads
from sandbox.containers.programs import released
from tasks.lib.errors import Failure
from tests.builders import ROOT
from tests.digests import IMAGE, WITH_IMAGES, compare_kubectl, pinned

OLD, NEW = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.mark.parametrize("digest", ["", f"@{OLD}"], ids=["a tag", "an old digest"])
def test_a_base_image_gets_the_digest_of_today(digest: str) -> None:
    text = f"ARG BASE=python:3.11-slim{digest}\n  _PYTHON: python:3.11{digest}  # why\n  name: gcr.io/x/docker:1\n"

    assert pinned(text, lambda image: NEW) == (
        f"ARG BASE=python:3.11-slim@{NEW}\n  _PYTHON: python:3.11@{NEW}  # why\n  name: gcr.io/x/docker:1\n"
    )


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_each_file_names_base_images(name: str) -> None:
    found = {match["name"].partition(":")[0] for match in IMAGE.finditer((ROOT / name).read_text())}

    assert found == {"python", "docker"}


def test_pinned_digests_are_those_of_the_pinned_versions() -> None:
    wanted = {
        downloads.release(one.name, one.version, architecture).url
        for one in released()
        for architecture in downloads.ARCHITECTURES.values()
    }

    assert json.loads(downloads.DIGESTS.read_text()).keys() <= wanted


def test_kubectl_is_compared_with_its_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "kubectl"
    program.write_bytes(b"kubectl")
    published = {
        "https://dl.k8s.io/release/v1/bin/linux/amd64/kubectl.sha256": hashlib.sha256(b"kubectl").hexdigest()
    }
    monkeypatch.setattr(downloads, "ARCHITECTURES", dict.fromkeys(downloads.ARCHITECTURES, "amd64"))
    monkeypatch.setattr(downloads, "text_of", published.__getitem__)

    compare_kubectl(program, "1")
    program.write_bytes(b"another")
    with pytest.raises(Failure, match="is not the kubectl of Kubernetes v1"):
        compare_kubectl(program, "1")
