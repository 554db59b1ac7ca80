"""Images out of Docker's store: read from an archive as `docker save` writes it."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.containers.place import TRUSTED
from sandbox.images import from_docker
from sandbox.images.archive import Image
from tasks.lib.errors import Failure
from tasks.lib.image import engine
from tasks.lib.image.checkout import Tree
from tests.builders import checked_in_settings

BUNDLE = "code/.venv/lib/python3.13/site-packages/certifi/cacert.pem"


def packed(files: Mapping[str, bytes]) -> bytes:
    """An archive of these files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def saved(folder: Path, *layers: bytes, stored: bytes = b"") -> Path:
    """What `docker save` writes for these layers; `stored` stands in the archive for the last one."""
    digests = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]
    config = {"config": {"WorkingDir": "/code"}, "rootfs": {"type": "layers", "diff_ids": digests}}
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": names}]
    contents = [*layers[:-1], stored or layers[-1]]
    files = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    path = folder / "saved.tar"
    path.write_bytes(packed(files | dict(zip(names, contents, strict=True))))
    return path


def linked(image: Image) -> dict[str, str]:
    """Where the links of an image's last layer lead."""
    with tarfile.open(image.layers[-1].path) as tar:
        return {one.name: one.linkname for one in tar if one.issym()}


def test_layers_are_kept_once_under_their_digests(tmp_path: Path) -> None:
    layers = [packed({"a": b"1"}), packed({"b": b"2"})]

    image = from_docker.read(saved(tmp_path, *layers), "r:1", tmp_path)

    assert image.names == ("r:1",)
    assert image.config == {"WorkingDir": "/code"}
    assert [one.path.read_bytes() for one in image.layers] == layers
    assert image == from_docker.read(saved(tmp_path, *layers), "r:1", tmp_path)


def test_a_compressed_layer_is_kept_unpacked(tmp_path: Path) -> None:
    layer = packed({"a": b"1"})

    image = from_docker.read(saved(tmp_path, layer, stored=gzip.compress(layer)), "r:1", tmp_path)

    assert image.layers[0].path.read_bytes() == layer


def test_a_layer_with_another_digest_is_refused(tmp_path: Path) -> None:
    archive = saved(tmp_path, packed({"a": b"1"}), stored=packed({"a": b"2"}))

    with pytest.raises(Failure, match="damaged"):
        from_docker.read(archive, "r:1", tmp_path)

    assert [one.name for one in tmp_path.iterdir()] == ["saved.tar"]


def test_certifi_leads_to_what_the_node_trusts(tmp_path: Path) -> None:
    image = from_docker.read(saved(tmp_path, packed({BUNDLE: b"authorities"})), "r:1", tmp_path)

    made = from_docker.trusting(image, tmp_path)

    assert linked(made) == {BUNDLE: TRUSTED}
    assert made.layers[:-1] == image.layers
    assert made == from_docker.trusting(image, tmp_path)


def test_an_image_without_certifi_stays_as_it_is(tmp_path: Path) -> None:
    image = from_docker.read(saved(tmp_path, packed({"a": b"1"})), "r:1", tmp_path)

    assert from_docker.trusting(image, tmp_path) is image


def test_docker_builds_only_what_needs_nothing_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def image_id(image: str, _: float) -> str:
        if image == "here:1":
            return "sha256:1"
        raise Failure(f"no {image}")

    monkeypatch.setattr(engine, "versions", lambda _: "")
    monkeypatch.setattr(engine, "image_id", image_id)
    tree, dockerfile = Tree(source=Path("/x"), folder=tmp_path), tmp_path / "Dockerfile"
    settings = checked_in_settings()

    assert from_docker.obstacle(settings, tree) == "/x has no Dockerfile."
    dockerfile.write_text("FROM here:1 AS one\nFROM scratch\nFROM one\n")
    assert from_docker.obstacle(settings, tree) == ""
    dockerfile.write_text("FROM here:1\nFROM elsewhere:2\n")
    assert from_docker.obstacle(settings, tree) == "Docker has no elsewhere:2 on this machine."


def test_without_an_engine_that_is_the_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: float) -> str:
        raise Failure("No Docker engine answers.")

    monkeypatch.setattr(engine, "versions", none)
    (tmp_path / "Dockerfile").write_text("FROM here:1\n")

    tree = Tree(source=tmp_path, folder=tmp_path)
    assert from_docker.obstacle(checked_in_settings(), tree) == "No Docker engine answers."
