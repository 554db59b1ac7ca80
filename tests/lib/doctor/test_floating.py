"""Names of images that others can move."""

from pathlib import Path

import pytest

from tasks.lib.doctor import floating
from tasks.lib.errors import Failure
from tasks.lib.pipeline.reading import load
from tests.builders import ROOT

DIGEST = "sha256:" + "a" * 64


def test_what_floats_is_listed_with_its_file(tmp_path: Path) -> None:
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
        floating.nothing_floats(tmp_path)

    assert caught.value.why.splitlines() == [
        "cloudbuild.yaml: busybox",
        "cloudbuild.yaml: gcr.io/$PROJECT_ID/tool:stable",
        "Dockerfile: debian:12",
    ]
    assert "_VERSION" in caught.value.next_step


def test_a_folder_whose_images_are_pinned_has_nothing_to_list(tmp_path: Path) -> None:
    (tmp_path / "cloudbuild.yaml").write_text(f"steps: [{{name: 'tool@{DIGEST}'}}]\n")
    assert floating.nothing_floats(tmp_path) == "each by digest"


@pytest.mark.parametrize("name", floating.BUILD_FILES)
def test_every_name_of_this_repository_is_a_trigger_s_to_pin(name: str) -> None:
    """No step names an image that a substitution cannot pin."""
    build = load(ROOT / name)
    assert all("$" in step.name for step in build.steps)
