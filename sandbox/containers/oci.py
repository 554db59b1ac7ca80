"""Images as OCI archives, which containerd imports: layers that are tar files, and a configuration.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.downloads import ARCHITECTURES
from tasks.lib.files import write_atomically

KIND = "application/vnd.oci.image"


def archive(name: str, layers: Sequence[bytes], config: Mapping[str, Any]) -> bytes:
    """The archive of the image `name`; `config` has what containers start with (Entrypoint, User, …)."""
    platform = {"architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine), "os": "linux"}
    blobs: dict[str, bytes] = {}

    def described(kind: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"{KIND}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    rows = [described("layer.v1.tar", layer) for layer in layers]
    rootfs = {"type": "layers", "diff_ids": [row["digest"] for row in rows]}
    image = described("config.v1+json", _json({**platform, "config": config, "rootfs": rootfs}))
    manifest = {"schemaVersion": 2, "mediaType": f"{KIND}.manifest.v1+json", "config": image, "layers": rows}
    top = {**described("manifest.v1+json", _json(manifest)), "platform": platform,
           "annotations": {"io.containerd.image.name": name}}  # fmt: skip
    files = {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = _json({"schemaVersion": 2, "manifests": [top]})
    return tar({path: (data, 0o644) for path, data in files.items()})


def tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A tar file of `files`, path to content and mode; the same files make the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
        for path, (data, mode) in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), mode
            made.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def of_program(program: Path, name: str, folder: Path, config: Mapping[str, Any]) -> Path:
    """An archive in `folder`, named by its content: the image has nothing but one static program."""
    layer = tar({program.name: (program.read_bytes(), 0o755)})
    data = archive(name, [layer], {"Entrypoint": [f"/{program.name}"], **config})
    path = folder / f"{program.name}-{hashlib.sha256(data).hexdigest()[:16]}.tar"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return path
