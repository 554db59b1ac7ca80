"""Image archives: what containerd reads in them."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from sandbox.containers import oci


def read(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], described: dict[str, Any]) -> bytes:
    data = files[f"blobs/{described['digest'].replace(':', '/')}"]
    assert described["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert described["size"] == len(data)
    return data


def test_an_archive_leads_from_its_index_to_every_layer() -> None:
    layer = oci.tar({"etc/motd": (b"hello", 0o600)})

    files = read(oci.archive("sandbox.local/x:1", [layer], {"User": "1"}))

    (top,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(files, top))
    image = json.loads(blob(files, manifest["config"]))
    assert top["annotations"] == {"io.containerd.image.name": "sandbox.local/x:1"}
    assert [blob(files, one) for one in manifest["layers"]] == [layer]
    assert image["config"] == {"User": "1"}
    assert image["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_the_archive_of_a_program_is_called_by_its_content(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"one")

    first = oci.of_program(program, "sandbox.local/pause:1", tmp_path / "images", {})
    again = oci.of_program(program, "sandbox.local/pause:1", tmp_path / "images", {})
    program.write_bytes(b"two")
    other = oci.of_program(program, "sandbox.local/pause:1", tmp_path / "images", {})

    assert first == again != other
    assert first.name.startswith("pause-")
    with tarfile.open(first) as archive:
        names = archive.getnames()
    assert "index.json" in names
