"""Where the control plane's programs come from: the cache, PATH, the official releases, or a build from Go
source.

Versions and sources are pinned by sandbox/controlplane/go.mod and go.sum; their content names the cache
folder, so
another version never meets a program of this one.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox import building, downloads
from sandbox.state import locked
from tasks.lib import console
from tasks.lib.errors import Failure

# Program, the package that it is built from, and the module whose version is its own.
PROGRAMS = (
    ("etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", "k8s.io/kubernetes"),
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", "k8s.io/kubernetes"),
    ("kwok", "sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok"),
)


@dataclass(frozen=True)
class Program:
    """One program of the control plane: its name, Go package and version (`v1.36.3`)."""

    name: str
    package: str
    version: str


def cache_folder() -> Path:
    """This project's folder among the user's caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lookit-orchestrator"


def programs(module: Path) -> list[Program]:
    """The programs, with the versions that the Go module in folder `module` pins.

    Raises:
        Failure: go.mod does not name one of them.

    """
    text = (module / "go.mod").read_text()
    found = []
    for name, package, source in PROGRAMS:
        match = re.search(rf"^\s*(?:require\s+)?{re.escape(source)} (v\S+)", text, re.MULTILINE)
        if not match:
            raise Failure(
                f"The version of {name} is not known.",
                f"{module / 'go.mod'} does not require {source}.",
                "Restore the file: git checkout sandbox/controlplane",
            )
        found.append(Program(name, package, match[1]))
    return found


def cache_key(module: Path) -> str:
    """A name for exactly these versions on this kind of machine."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((module / name).read_bytes())
    return f"controlplane-{digest.hexdigest()[:16]}-{os.uname().machine}"


def obtain(module: Path, cache: Path) -> Mapping[str, Path]:
    """The path of every program, by name; those missing are installed into `cache` first.

    Args:
        module: the Go module that pins them (sandbox/controlplane).
        cache: the folder that keeps them.

    Raises:
        Failure: a program could be found nowhere and not be built; it says what would mend that.

    """
    folder = cache / cache_key(module)
    wanted = programs(module)
    if not _missing(folder, wanted):
        return _paths(folder, wanted)
    waiting = "Another process is installing the control plane's programs; waiting for it …"
    with locked(folder.with_suffix(".lock"), waiting):
        for source in (_from_path, _from_releases):
            for program in _missing(folder, wanted):
                source(program, folder)
        if missing := _missing(folder, wanted):
            _build(module, missing, folder)
    return _paths(folder, wanted)


def _missing(folder: Path, wanted: list[Program]) -> list[Program]:
    return [program for program in wanted if not (folder / program.name).exists()]


def _paths(folder: Path, wanted: list[Program]) -> Mapping[str, Path]:
    return {program.name: folder / program.name for program in wanted}


def _from_path(program: Program, folder: Path) -> None:
    """Use an installed program of exactly the pinned version."""
    found = shutil.which(program.name)
    if found and building.version_of(Path(found)) == program.version:
        console.say(f"Using {found} ({program.version}).")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / program.name).symlink_to(found)


def _from_releases(program: Program, folder: Path) -> None:
    """Download an official release; where that does not work, say so and leave it to the next source."""
    with _staging(folder) as staging:
        if fetched := downloads.fetch(program.name, program.version, Path(staging)):
            _install(fetched, folder / program.name)


def _build(module: Path, missing: list[Program], folder: Path) -> None:
    with _staging(folder) as staging:
        built = building.build(module, [program.package for program in missing], Path(staging))
        for program in missing:
            _install(built / building.binary_name(program.package), folder / program.name)


def _staging(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder on the same file system, so that a finished program is renamed into place whole."""
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".staging-", dir=folder)


def _install(built: Path, place: Path) -> None:
    built.chmod(0o755)
    built.replace(place)
