"""Official releases of programs, each compared with its digest.

Digests stand in sandbox/controlplane/digests.json, which `nox -s digests` writes beside the versions. A file
without one is compared with what its publisher states over https now: Kubernetes in a `.sha256` for each
program, CoreDNS too, etcd in a SHA256SUMS for a release, GitHub for every file of a release.
"""

import hashlib
import json
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.lib import console
from tasks.lib.background import call

DIGESTS = Path(__file__).with_name("controlplane") / "digests.json"
CONNECT_TIME_LIMIT = 5.0
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_unreachable: set[str] = set()


@dataclass(frozen=True)
class Release:
    """One file to download."""

    url: str
    checksums: str  # where its checksum is found: sha256sum's lines, or GitHub's JSON about the release
    member: str = ""  # the program within the file when it is a tar archive

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def release(program: str, version: str, architecture: str) -> Release:
    """Where the official `program` of `version` lies for Linux on `architecture` (amd64, arm64)."""
    if program == "etcd":
        base = f"https://github.com/etcd-io/etcd/releases/download/{version}"
        name = f"etcd-{version}-linux-{architecture}"
        return Release(f"{base}/{name}.tar.gz", f"{base}/SHA256SUMS", f"{name}/etcd")
    if program == "coredns":
        base = f"https://github.com/coredns/coredns/releases/download/{version}"
        name = f"coredns_{version.removeprefix('v')}_linux_{architecture}.tgz"
        return Release(f"{base}/{name}", f"{base}/{name}.sha256", "coredns")
    if program == "kwok":
        url = f"https://github.com/kubernetes-sigs/kwok/releases/download/{version}/kwok-linux-{architecture}"
        return Release(url, f"https://api.github.com/repos/kubernetes-sigs/kwok/releases/tags/{version}")
    url = f"https://dl.k8s.io/release/{version}/bin/linux/{architecture}/{program}"
    return Release(url, f"{url}.sha256")


def fetch(program: str, version: str, folder: Path) -> Path | None:
    """Download a program into `folder`; None, after saying why, where that or its checksum fails.

    A host that failed is not asked again: the next source is a build from pinned Go source.
    """
    architecture = ARCHITECTURES.get(os.uname().machine)
    if not architecture:
        return None
    wanted = release(program, version, architecture)
    host = wanted.url.split("/")[2]
    if host in _unreachable:
        return None
    try:
        expected = _digest(wanted)
        console.say(f"Downloading {wanted.url} …")
        fetched = folder / wanted.file
        call(_download, wanted.url, fetched)
    except (urllib.error.URLError, OSError, ValueError) as error:
        _unreachable.add(host)
        console.say(f"{host} cannot be used here ({getattr(error, 'reason', error)}).")
        return None
    with fetched.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        console.say(f"{wanted.url} does not match its digest; it is not used.")
        return None
    return _unpacked(fetched, wanted.member) if wanted.member else fetched


def _digest(wanted: Release) -> str:
    pinned = json.loads(DIGESTS.read_text()).get(wanted.url)
    if pinned:
        return str(pinned)
    console.say(f"No digest is pinned for {wanted.file} (`nox -s digests`): comparing with its publisher's.")
    return published_digest(call(text_of, wanted.checksums), wanted.file)


def published_digest(text: str, file: str) -> str:
    """The SHA-256 of `file` as a publisher states it: a bare digest, sha256sum's lines, or GitHub's JSON.

    Raises:
        ValueError: the text states none for this file.

    """
    if text.lstrip().startswith("{"):
        assets = json.loads(text).get("assets", ())
        text = "\n".join(
            f"{(one.get('digest') or '').removeprefix('sha256:')} {one['name']}" for one in assets
        )
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if name.strip(" *") in {"", file} and len(digest) == 64:
            return digest
    raise ValueError(f"no checksum is published for {file}")


def text_of(url: str) -> str:
    """What lies at an https address of `release`."""
    with urllib.request.urlopen(url, timeout=CONNECT_TIME_LIMIT) as answer:  # noqa: S310
        return bytes(answer.read()).decode()


def _download(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=CONNECT_TIME_LIMIT) as answer, path.open("wb") as file:  # noqa: S310
        shutil.copyfileobj(answer, file, 1024**2)


def _unpacked(path: Path, member: str) -> Path:
    """The one file of an archive that is wanted; nothing else of it is unpacked."""
    target = path.parent / PurePosixPath(member).name
    with tarfile.open(path) as archive:
        content = archive.extractfile(member)
        if content is None:
            raise ValueError(f"{member} in {path.name} is no file")
        with target.open("wb") as file:
            shutil.copyfileobj(content, file, 1024**2)
    return target
