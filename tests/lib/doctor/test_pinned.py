"""Image names that are not pinned."""

from pathlib import Path

import pytest

from tasks.lib.doctor import pinned
from tasks.lib.errors import Failure
from tasks.lib.pipeline.reading import load
from tests.builders import ROOT

DIGEST = "sha256:" + "a" * 64


def test_unpinned_images_are_listed_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "cloudbuild.yaml").write_text(
        f"""
        substitutions: {{_VERSION: stable, _PYTHON: 'python@{DIGEST}'}}
        steps:
          - name: gcr.io/$PROJECT_ID/tool:${{_VERSION}}
          - name: $_PYTHON
          - name: gcr.io/$PROJECT_ID/tool:$COMMIT_SHA
          - name: busybox
        """
    )
    (tmp_path / "Dockerfile").write_text(
        f"ARG BASE=debian:12\nARG TOOL=tool@{DIGEST}\nARG MODE=apt\nFROM ${{BASE}} AS one\nFROM $TOOL\n"
    )

    with pytest.raises(Failure) as caught:
        pinned.all_pinned(tmp_path)

    assert caught.value.why.splitlines() == [
        "cloudbuild.yaml: busybox",
        "cloudbuild.yaml: gcr.io/$PROJECT_ID/tool:stable",
        "Dockerfile: debian:12",
    ]
    assert "_VERSION" in caught.value.next_step


def test_pinned_images_pass(tmp_path: Path) -> None:
    (tmp_path / "cloudbuild.yaml").write_text(f"steps: [{{name: 'tool@{DIGEST}'}}]\n")
    assert pinned.all_pinned(tmp_path) == "all pinned by digest"


@pytest.mark.parametrize("name", pinned.BUILD_FILES)
def test_every_image_of_this_repository_can_be_pinned_by_triggers(name: str) -> None:
    """No step names an image that a substitution cannot pin."""
    build = load(ROOT / name)
    assert all("$" in step.name for step in build.steps)
