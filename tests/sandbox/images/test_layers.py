"""Recipes of layers: what they are kept under."""

import os
import select
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.containers import programs
from sandbox.images import layers, making, recipes
from sandbox.images.__main__ import main
from sandbox.images.layers import Layer
from sandbox.images.recipes import Recipe
from tasks.lib import process
from tasks.lib.errors import Failure, TimedOut
from tests.kubernetes.rendering import checked_in

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
    keys = [first, *(other.key for other in others)]
    file.write_text("two")
    keys.append(replace(layer).key)
    file.chmod(0o755)
    keys.append(replace(layer).key)

    assert len(set(keys)) == 3 + len(others)


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
    assert [one.name for one in tmp_path.iterdir()] == [f".{BASE.folder(tmp_path).name}.lock"]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the layers that are made; no script of theirs runs, so their files are all they have."""
    made: list[str] = []

    def base(layer: Layer, root: Path) -> None:
        made.append(layer.name)
        (root / layer.name).write_text("")

    monkeypatch.setattr(layers, "_run_base", base)
    monkeypatch.setattr(layers, "_execute", lambda layer, *_: made.append(layer.name))
    return made


def test_files_are_copied_as_git_would_check_them_out(tmp_path: Path, plain: list[str]) -> None:
    source = tmp_path / "source"
    (source / "__pycache__").mkdir(parents=True)
    for name, mode in {"run": 0o700, "read": 0o600}.items():
        (source / name).write_text(name)
        (source / name).chmod(mode)
    (source / "link").symlink_to("nowhere")
    source.chmod(0o700)
    before = os.umask(0o077)
    try:
        layers.obtain(Layer("top", "", BASE, files={"/opt/of/it": source}), tmp_path / "layers")
    finally:
        os.umask(before)

    (root,) = (tmp_path / "layers").glob("top-*/tree/opt")
    modes = {str(one.relative_to(root)): one.lstat().st_mode & 0o777 for one in root.rglob("*")}
    assert modes == {
        "of": 0o755,
        "of/it": 0o755,
        "of/it/run": 0o755,
        "of/it/read": 0o644,
        "of/it/link": 0o777,
    }
    assert (root / "of/it/link").readlink() == Path("nowhere")


def test_a_layer_that_images_share_is_made_once(
    tmp_path: Path, plain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wanted = [Recipe((name,), Layer(name, "", BASE), {}) for name in ("one", "two", "three")]

    images = making.obtain_all(wanted, making.folder())

    assert sorted(plain) == ["base", "one", "three", "two"]
    assert [image.names for image in images] == [("one",), ("two",), ("three",)]
    assert len({image.layers[0] for image in images}) == 1
    assert making.has_all(wanted)
    assert not making.has_all([Recipe(("four",), Layer("four", "", BASE), {})])


def test_what_a_killed_run_left_is_made_again(tmp_path: Path, plain: list[str]) -> None:
    left = tmp_path / f".{BASE.folder(tmp_path).name}" / "upper" / "half"
    left.mkdir(parents=True)

    layers.obtain(BASE, tmp_path)

    assert [one.name for one in BASE.tree(tmp_path).iterdir()] == ["base"]
    assert not left.parents[1].exists()


@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_python_packages_come_from_this_machines_index(name: str) -> None:
    assert layers.index({name: "https://mirror.example/simple"}) == "https://mirror.example/simple"
    assert layers.index({name: ""}) is None


def test_the_manifests_images_are_made_under_their_names() -> None:
    tree = checked_in("staging")
    wanted = {container["image"] for _, container in tree.every_container()}
    made = [*recipes.ALL.values(), recipes.application("gcr.io/mit-lookit/lookit", "unreleased")]
    names = {name for recipe in made for name in recipe.names}
    assert wanted <= names | {programs.proxy_image()}


def test_an_unknown_image_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mysql"]) == 2
    assert "There is no image mysql." in capsys.readouterr().err


def test_a_layer_that_takes_too_long_is_told_as_that(
    tmp_path: Path, plain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*_: object) -> None:
        raise TimedOut("`sh` did not finish within 0.5 s and was ended.", "unpacking")

    def talk_once_it_speaks(child: Any, *rest: Any) -> object:
        select.select([child.stderr], [], [])
        return talk(child, *rest)

    talk = process._talk
    monkeypatch.setattr(process, "_talk", talk_once_it_speaks)
    monkeypatch.setattr(layers, "TIME_LIMIT", 0.5)
    monkeypatch.setattr(layers, "_execute", too_long)

    with pytest.raises(TimedOut) as failure:
        layers.obtain(Layer("top", "", BASE), tmp_path)

    assert failure.value.what == "The layer top could not be made."
    assert failure.value.why == "It was not done within 0.5 s and was ended. unpacking"
    assert "what was made before is kept" in failure.value.next_step


def test_the_last_lines_of_a_script_say_why_a_layer_failed(
    tmp_path: Path, plain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        process.run(("sh", "-c", "echo fatal error: Python.h >&2; exit 1"), time_limit=60)

    monkeypatch.setattr(layers, "_execute", fails)

    with pytest.raises(Failure) as failure:
        layers.obtain(Layer("top", "", BASE), tmp_path)

    assert failure.value.why == "fatal error: Python.h"
    assert BASE.is_made(tmp_path)
