"""The images of Lookit's site: for which commit, and under which names."""

import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from sandbox.images import from_docker, making, site
from sandbox.images.archive import Image
from sandbox.images.recipes import Recipe
from tasks.lib.errors import UsageError
from tasks.lib.image.contract import FILES
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

    plain = site.images(settings, COMMIT)[0]
    own = site.images(checked_in_settings(sandbox={"registry": "127.0.0.1:5000"}), COMMIT)[0]

    assert plain.names == (f"gcr.io/mit-lookit/lookit:{COMMIT}",)
    assert f"GIT_COMMIT={COMMIT}" in plain.config["Env"]
    assert own.names == (f"127.0.0.1:5000/mit-lookit/lookit:{COMMIT}",)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in the layout of lookit-api, with a file that is not committed."""
    folder = tmp_path / "lookit-api"
    for name in (*FILES, "requirements.txt", "Dockerfile"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    git = ("git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x")
    for arguments in (("init", "--quiet"), ("add", "-A"), ("commit", "--quiet", "--message=first")):
        subprocess.run((*git, *arguments), check=True)
    (folder / "uncommitted.py").write_text("")
    return folder


def head(folder: Path) -> str:
    git = ("git", "-C", str(folder), "rev-parse", "HEAD")
    return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkouts_image_has_the_files_of_its_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied: dict[str, set[str]] = {}

    def obtain(recipe: Recipe, _: Path) -> Image:
        copied[recipe.layer.name] = {path.name for path in recipe.layer.files.get("/code", Path()).glob("*")}
        return Image(recipe.names, recipe.config, ())

    monkeypatch.setattr(making, "obtain", obtain)
    monkeypatch.setattr(from_docker, "obstacle", lambda *_: "No Docker engine answers.")

    image = site.images(checked_in_settings(), source=checkout)[0]

    assert image.names == (f"gcr.io/mit-lookit/lookit:{head(checkout)}",)
    assert copied["lookit-api"] == {"Dockerfile", "manage.py", "project", "requirements.txt"}
    said = capsys.readouterr().err
    assert f"No Docker engine answers. The image of {checkout} is made on the sandbox's own base." in said
    assert "uncommitted.py" in said


def test_docker_builds_a_checkout_where_it_can(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_docker = Image(("by-docker",), {}, ())
    monkeypatch.setattr(making, "obtain", lambda recipe, _: Image(recipe.names, recipe.config, ()))
    monkeypatch.setattr(from_docker, "obstacle", lambda *_: "")
    monkeypatch.setattr(from_docker, "obtain", lambda *_: by_docker)

    images = site.images(checked_in_settings(), source=checkout)

    assert images[0] is by_docker
    assert "docker.io/library/docker:27.5.1-dind" in {name for image in images for name in image.names}


def test_a_checkout_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        site.images(checked_in_settings(), source=tmp_path / "nowhere")
