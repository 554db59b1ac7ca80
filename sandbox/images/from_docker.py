"""The image of a checkout as Docker builds it, taken out of Docker's store for containerd."""

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from sandbox.containers.place import TRUSTED
from sandbox.images import archive
from sandbox.images.archive import Blob, Image
from tasks.lib import console, process
from tasks.lib.errors import Failure
from tasks.lib.image import build, docker, engine

if TYPE_CHECKING:
    from tasks.lib.build_variables import BuildVariables
    from tasks.lib.image.checkout import Tree
    from tasks.lib.settings.model import Settings

CERTIFI = "/site-packages/certifi/cacert.pem"
GZIP = b"\x1f\x8b"


def obstacle(settings: "Settings", tree: "Tree") -> str:
    """Why Docker cannot build a checkout without fetching anything; empty where it can."""
    path, seconds = tree.folder / settings.build.file, settings.time_limits.docker
    if not path.is_file():
        return f"{tree.source} has no {settings.build.file}."
    try:
        engine.versions(seconds)
    except Failure as failure:
        return failure.what
    wanted = build.bases(path.read_text(errors="replace"), settings.build.arguments)
    missing = [base for base in wanted if base != "scratch" and not _is_there(base, seconds)]
    return f"Docker has no {', '.join(missing)} on this machine." if missing else ""


def obtain(settings: "Settings", tree: "Tree", variables: "BuildVariables", name: str, folder: Path) -> Image:
    """Build the image as `./inv build` does; its layers are kept in `folder`, and it is called `name`.

    Raises:
        Failure: it could not be built, or Docker does not give it out.

    """
    own = str(build.build(settings, tree, variables)[0])
    folder.mkdir(parents=True, exist_ok=True)
    console.say(f"Taking {own} out of Docker …")
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as room:
        saved = Path(room) / "image.tar"
        process.run(docker.save(own, saved), time_limit=settings.time_limits.image_push)
        return trusting(read(saved, name, folder), folder)


def read(saved: Path, name: str, folder: Path) -> Image:
    """The image of an archive of `docker save`, whose layers are kept in `folder`."""
    with tarfile.open(saved) as tar:
        (described,) = json.load(_file(tar, "manifest.json"))
        configuration = json.load(_file(tar, described["Config"]))
        wanted = zip(described["Layers"], configuration["rootfs"]["diff_ids"], strict=True)
        layers = tuple(_layer(tar, place, digest, folder) for place, digest in wanted)
    return Image((name,), configuration["config"], layers)


def trusting(image: Image, folder: Path) -> Image:
    """The same image whose Python trusts what the real node trusts, also where certifi is asked."""
    bundles = [name for layer in image.layers for name in _names(layer.path) if name.endswith(CERTIFI)]
    if not bundles:
        return image
    with tempfile.TemporaryDirectory(prefix=".trusting-", dir=folder) as room:
        for name in bundles:
            link = Path(room, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(TRUSTED)
        for path in Path(room).rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755)
            os.utime(path, (0, 0), follow_symlinks=False)  # the same layer each time
        layer = archive.pack(Path(room), folder)
    return Image(image.names, image.config, (*image.layers, layer))


def _is_there(image: str, seconds: float) -> bool:
    try:
        return bool(engine.image_id(image, seconds))
    except Failure:
        return False


def _layer(tar: tarfile.TarFile, place: str, digest: str, folder: Path) -> Blob:
    """A layer as a file called by its digest, which it is compared with."""
    kept = folder / f"{digest.removeprefix('sha256:')}.tar"
    if kept.exists():
        return Blob(kept)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".layer-") as room:
        made = Path(room) / "layer"
        with made.open("wb") as copy, _unpacked(_file(tar, place)) as content:
            shutil.copyfileobj(content, copy)
        if f"sha256:{_digest(made)}" != digest:
            raise Failure("Docker's archive of the image is damaged.", f"A layer of it is not {digest}.")
        return Blob(made.rename(kept))


@contextmanager
def _unpacked(content: IO[bytes]) -> Iterator[IO[bytes]]:
    """Read a layer, which newer engines compress."""
    start = content.read(len(GZIP))
    content.seek(0)
    if start != GZIP:
        yield content
        return
    with gzip.open(content) as unpacked:
        yield cast("IO[bytes]", unpacked)


def _names(layer: Path) -> Sequence[str]:
    with tarfile.open(layer) as tar:
        return [name.removeprefix("./") for name in tar.getnames()]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise Failure("Docker's archive of the image is damaged.", f"{name} in it is not a file.")
    return found
