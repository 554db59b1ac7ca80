"""Images as OCI archives, which containerd imports: layers from folders, named by their content.

A layer is what an overlay's upper folder holds; what it removes from the layers below becomes a whiteout.
https://github.com/opencontainers/image-spec/blob/main/image-layout.md and layer.md
"""

import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from sandbox.downloads import ARCHITECTURES

KIND = "application/vnd.oci.image"
# What a container gets from its runtime, whatever a build left there.
FROM_THE_RUNTIME = frozenset({"dev", "proc", "sys"})
OPAQUE = "trusted.overlay.opaque"


@dataclass(frozen=True)
class Blob:
    """A layer as a file, called by the digest of its content."""

    path: Path

    @property
    def digest(self) -> str:
        """The digest as images name it."""
        return f"sha256:{self.path.stem}"


@dataclass(frozen=True)
class Image:
    """An image.

    Args:
        names: what it is called, each whole, such as docker.io/library/postgres:17.
        config: what containers start with: Entrypoint, User, Env and so on.
        layers: the lowest first.

    """

    names: tuple[str, ...]
    config: Mapping[str, Any]
    layers: tuple[Blob, ...]

    @cached_property
    def configuration(self) -> bytes:
        """The file that its manifest refers to."""
        rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]}
        return _json({**platform(), "config": self.config, "rootfs": rootfs})

    @cached_property
    def manifest(self) -> bytes:
        """The file that lists its configuration and layers."""
        rows = [_described("layer.v1.tar", one.digest, one.path.stat().st_size) for one in self.layers]
        config = _described("config.v1+json", _digest(self.configuration), len(self.configuration))
        kind = f"{KIND}.manifest.v1+json"
        return _json({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": rows})

    @property
    def identity(self) -> str:
        """A digest of its content and its names."""
        return _digest(_json([_digest(self.manifest), self.names])).removeprefix("sha256:")[:16]

    def rows(self) -> list[dict[str, Any]]:
        """How an archive's index lists it: once under each of its names."""
        row = _described("manifest.v1+json", _digest(self.manifest), len(self.manifest))
        notes = [{"io.containerd.image.name": name} for name in self.names]
        return [{**row, "platform": platform(), "annotations": note} for note in notes]


def platform() -> dict[str, str]:
    """The platform that this machine's images are for."""
    return {"architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine), "os": "linux"}


def write(images: Sequence[Image], file: IO[bytes], there: Collection[str] = ()) -> None:
    """Write an archive of `images` to `file`; a layer that they share is in it once.

    Layers whose digests are in `there` are left out: who reads the archive has them.
    """
    layers = {one.digest: one for image in images for one in image.layers if one.digest not in there}
    texts = [text for image in images for text in (image.configuration, image.manifest)]
    index = {"schemaVersion": 2, "manifests": [row for image in images for row in image.rows()]}
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add_text(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add_text(tar, "index.json", _json(index))
        for digest, text in {_digest(text): text for text in texts}.items():
            _add_text(tar, _place(digest), text)
        for digest, layer in layers.items():
            member = tarfile.TarInfo(_place(digest))
            member.size = layer.path.stat().st_size
            with layer.path.open("rb") as content:
                tar.addfile(member, content)


def pack(folder: Path, target: Path) -> Blob:
    """Write what `folder` holds to a file in the folder `target`; the same content makes the same file."""
    with tempfile.TemporaryDirectory(prefix=".packing-", dir=target) as room:
        made = Path(room) / "layer"
        with made.open("wb") as file:
            hashed = _Hashed(file)
            with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for name, path in members(folder):
                    _add(tar, name, path)
        return Blob(made.rename(target / f"{hashed.hash.hexdigest()}.tar"))


def of_program(program: Path, names: tuple[str, ...], folder: Path, config: Mapping[str, Any]) -> Image:
    """An image of nothing but one static program, whose layer is kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".program-", dir=folder) as room:
        copy = Path(room) / program.name
        copy.write_bytes(program.read_bytes())
        copy.chmod(0o755)
        os.utime(copy, (0, 0))
        layer = pack(Path(room), folder)
    return Image(names, {"Entrypoint": [f"/{program.name}"], **config}, (layer,))


class _Hashed(io.RawIOBase):
    """Writes to a file and knows the digest of what it wrote."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return self.file.write(data)


def members(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every entry of a layer by its name within, parents before what they hold, in a fixed order."""
    for path in sorted(folder.iterdir()):
        if path.name in FROM_THE_RUNTIME and path.is_dir():
            yield path.name, path
        else:
            yield from _below(path.name, path)


def _below(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    yield name, path
    if path.is_dir() and not path.is_symlink():
        for entry in sorted(path.iterdir()):
            yield from _below(f"{name}/{entry.name}", entry)


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    kind = path.lstat()
    if stat.S_ISCHR(kind.st_mode) and kind.st_rdev == 0:
        parent, _, last = name.rpartition("/")
        tar.addfile(tarfile.TarInfo(f"{parent}/.wh.{last}" if parent else f".wh.{last}"))
        return
    if stat.S_ISSOCK(kind.st_mode):
        return
    member = tar.gettarinfo(path, name)
    member.uname = member.gname = ""
    member.mtime = int(member.mtime)
    if member.isreg():
        with path.open("rb") as content:
            tar.addfile(member, content)
    else:
        tar.addfile(member)
    if member.isdir() and _is_opaque(path):
        tar.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))


def _is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, OPAQUE) == b"y"
    except OSError:
        return False


def _add_text(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text)
    tar.addfile(member, io.BytesIO(text))


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _described(kind: str, digest: str, size: int) -> dict[str, Any]:
    """How one file of the archive refers to another."""
    return {"mediaType": f"{KIND}.{kind}", "digest": digest, "size": size}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
