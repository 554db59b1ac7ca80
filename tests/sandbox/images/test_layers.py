"""Recipes of layers: what they are kept under."""

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.containers import programs
from sandbox.images import layers, recipes
from sandbox.images.__main__ import main
from sandbox.images.layers import Layer
from tasks.lib.errors import Failure
from tests.kubernetes.rendering import Tree, build

BASE = Layer("base", suite="trixie", packages=("netbase",))


def test_a_layer_changes_with_what_goes_into_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    layer = Layer("top", "true", BASE, files={"/file": file})
    first = layer.key
    others = [
        replace(layer, script="false"),
        replace(layer, below=replace(BASE, suite="bullseye")),
        replace(layer, files={}),
    ]
    file.write_text("two")
    others.append(replace(layer))

    assert len({first, *(other.key for other in others)}) == 1 + len(others)


def test_a_layer_stays_the_same_while_its_recipe_does(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "a.py").write_text("")
    before = layers.digest_of(folder)
    (folder / "__pycache__/a.pyc").write_text("")
    assert layers.digest_of(folder) == before


def test_layers_lie_on_one_another_the_lowest_first() -> None:
    top = Layer("top", "true", Layer("middle", "true", BASE))
    assert [layer.name for layer in top.stack] == ["base", "middle", "top"]


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    top = Layer("top", "false", BASE)
    for layer in top.stack:
        layer.folder(tmp_path).mkdir()
        (layer.folder(tmp_path) / f"{layer.name}.tar").touch()
    assert [blob.digest for blob in layers.obtain(top, tmp_path)] == ["sha256:base", "sha256:top"]


def test_without_debootstrap_no_layer_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(Failure) as failure:
        layers.obtain(BASE, tmp_path)
    assert failure.value.what == "The layer base could not be made."
    assert failure.value.why == "debootstrap is not installed."
    assert "apt-get install debootstrap" in failure.value.next_step
    assert [one.name for one in tmp_path.iterdir()] == ["lock"]


def test_the_manifests_images_are_made_under_their_names() -> None:
    tree: Tree = build("staging")
    wanted = {container["image"] for _, container in tree.every_container()}
    made = [*recipes.ALL.values(), recipes.application("gcr.io/mit-lookit/lookit", "unreleased")]
    names = {name for recipe in made for name in recipe.names}
    assert wanted <= names | {programs.proxy_image()}


def test_an_unknown_image_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mysql"]) == 2
    assert "There is no image mysql." in capsys.readouterr().err
