"""Image archives: what is in them, and that the same folders make the same bytes."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.images import archive
from sandbox.images.archive import Image

NAMES = ("docker.io/library/postgres:16.4-alpine3.20", "sandbox.local/postgres:1")


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    """A folder with what file systems have."""
    root = tmp_path / "lower"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_bytes(b"tool")
    (root / "bin/tool").chmod(0o755)
    os.link(root / "bin/tool", root / "bin/same")
    (root / "sbin").symlink_to("bin")
    (root / "proc").mkdir()
    (root / "proc/of-the-build").write_text("")
    (root / "etc").mkdir()
    (root / "etc/old").write_text("old")
    return root


def entries(layer: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer) as tar:
        return {member.name: member for member in tar}


def written(images: Sequence[Image]) -> tuple[dict[str, Any], list[str], dict[str, bytes]]:
    """The index, the blobs in their order, and their content by digest."""
    file = io.BytesIO()
    archive.write(images, file)
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        members = [(one.name, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    assert json.loads(dict(members)["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    blobs = [(name.removeprefix("blobs/sha256/"), data) for name, data in members if "/" in name]
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in blobs)
    return json.loads(dict(members)["index.json"]), [digest for digest, _ in blobs], dict(blobs)


def of(described: dict[str, Any], blobs: dict[str, bytes]) -> bytes:
    data = blobs[described["digest"].removeprefix("sha256:")]
    assert len(data) == described["size"]
    return data


def test_an_archive_leads_from_each_name_to_every_layer(lower: Path, tmp_path: Path) -> None:
    layer = archive.pack(lower, tmp_path)

    index, _, blobs = written([Image(NAMES, {"User": "1001"}, (layer,))])

    assert [one["annotations"]["io.containerd.image.name"] for one in index["manifests"]] == list(NAMES)
    manifest = json.loads(of(index["manifests"][0], blobs))
    image = json.loads(of(manifest["config"], blobs))
    assert [of(one, blobs) for one in manifest["layers"]] == [layer.path.read_bytes()]
    assert image["config"] == {"User": "1001"}
    assert image["rootfs"]["diff_ids"] == [layer.digest]
    assert {name: image[name] for name in archive.platform()} == archive.platform()


def test_a_layer_that_images_share_is_in_their_archive_once(lower: Path, tmp_path: Path) -> None:
    shared = archive.pack(lower, tmp_path)
    (lower / "etc/old").write_text("new")
    own = archive.pack(lower, tmp_path)

    index, order, blobs = written([Image(("a:1",), {}, (shared,)), Image(("b:1",), {}, (shared, own))])

    assert len(index["manifests"]) == 2
    assert len(order) == len(blobs) == 6  # each image has two texts


def test_layers_that_the_reader_has_are_left_out(lower: Path, tmp_path: Path) -> None:
    layer = archive.pack(lower, tmp_path)
    file = io.BytesIO()

    archive.write([Image(NAMES, {}, (layer,))], file, there={layer.digest})

    assert layer.path.read_bytes() not in file.getvalue()


def test_a_layer_holds_what_the_folder_holds(lower: Path, tmp_path: Path) -> None:
    found = entries(archive.pack(lower, tmp_path).path)

    assert list(found) == ["bin", "bin/same", "bin/tool", "etc", "etc/old", "proc", "sbin"]
    assert found["bin/same"].isreg()
    assert (found["bin/tool"].islnk(), found["bin/tool"].linkname) == (True, "bin/same")
    assert (found["sbin"].issym(), found["sbin"].linkname) == (True, "bin")
    assert found["bin/same"].mode == 0o755


def test_the_same_folder_makes_the_same_layer(lower: Path, tmp_path: Path) -> None:
    first, again = archive.pack(lower, tmp_path), archive.pack(lower, tmp_path)
    (lower / "etc/old").write_text("new")

    assert first == again != archive.pack(lower, tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_an_image_is_another_under_other_names_or_content(lower: Path, tmp_path: Path) -> None:
    layer = archive.pack(lower, tmp_path)
    images = [
        Image(("a:1",), {}, (layer,)),
        Image(("a:2",), {}, (layer,)),
        Image(("a:1",), {"User": "1"}, (layer,)),
    ]

    assert len({one.identity for one in images}) == len(images)


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root makes devices, as an overlay does for what is removed"
)
def test_what_an_upper_folder_removes_becomes_a_whiteout(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "etc").mkdir(parents=True)
    os.mknod(upper / "etc/old", 0o020000, os.makedev(0, 0))
    os.mknod(upper / "sbin", 0o020000, os.makedev(0, 0))

    found = entries(archive.pack(upper, tmp_path).path)

    assert list(found) == ["etc", "etc/.wh.old", ".wh.sbin"]
    assert found["etc/.wh.old"].isreg()


def test_the_image_of_a_program_changes_with_it(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"one")

    first, again = (archive.of_program(program, ("pause:1",), tmp_path / "x", {}) for _ in range(2))
    program.write_bytes(b"two")
    other = archive.of_program(program, ("pause:1",), tmp_path / "x", {})

    assert first == again != other
    assert first.config == {"Entrypoint": ["/pause"]}
    assert entries(first.layers[0].path)["pause"].mode == 0o755
