"""The images of Lookit's site: for which commit, and under which names."""

import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from sandbox.images import making, site
from sandbox.images.archive import Image
from tests.builders import checked_in_settings

COMMIT = "1" * 40


@pytest.fixture(autouse=True)
def _no_cloud_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMMIT_SHA", raising=False)


def test_a_folder_without_git_gets_a_made_up_commit(tmp_path: Path) -> None:
    assert site.commit_of(replace(checked_in_settings(), root=tmp_path)) == "0" * 40


def test_a_checkout_gives_its_commit_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ("git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x")
    subprocess.run((*git, "init", "--quiet"), check=True)
    subprocess.run((*git, "commit", "--quiet", "--allow-empty", "--message=first"), check=True)
    head = subprocess.run((*git, "rev-parse", "HEAD"), check=True, capture_output=True, text=True).stdout
    settings = replace(checked_in_settings(), root=tmp_path)

    assert site.commit_of(settings) == head.strip()
    assert site.commit_of(settings, COMMIT) == COMMIT
    monkeypatch.setenv("COMMIT_SHA", "2" * 40)
    assert site.commit_of(settings) == "2" * 40
    assert site.commit_of(settings, COMMIT) == COMMIT


def test_the_application_is_called_as_the_manifests_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "obtain", lambda recipe, _: Image(recipe.names, recipe.config, ()))
    settings = checked_in_settings(image={"repository": "gcr.io/mit-lookit/lookit"})

    plain = site.images(settings, COMMIT)[-1]
    own = site.images(checked_in_settings(sandbox={"registry": "127.0.0.1:5000"}), COMMIT)[-1]

    assert plain.names == (f"gcr.io/mit-lookit/lookit:{COMMIT}",)
    assert f"GIT_COMMIT={COMMIT}" in plain.config["Env"]
    assert own.names == (f"127.0.0.1:5000/mit-lookit/lookit:{COMMIT}",)
