"""Where programs come from: the cache, PATH, official releases or a build from source.

Versions and sources are pinned by the go.mod and go.sum of a Go module, for the control plane
sandbox/controlplane; their content names the cache folder, so that versions never mix.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import building, downloads
from sandbox.state import locked
from tasks.lib import console
from tasks.lib.errors import Failure

# Programs of the control plane, and the Go package that each is built from.
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
}
REQUIREMENT = re.compile(r"^\s*(?:require\s+)?(\S+) (v\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Program:
    """One program.

    Args:
        name: what it is called.
        package: the Go package that it is built from.
        version: which one, such as v1.36.3; empty: it is only ever built here.
        static: whether it runs in an image that has nothing else.

    """

    name: str
    package: str
    version: str
    static: bool = False


def cache_folder() -> Path:
    """This project's folder among the user's caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lookit-orchestrator"


def programs(module: Path, packages: Mapping[str, str] = PACKAGES) -> list[Program]:
    """The programs, with the versions that the Go module in folder `module` pins."""
    return [Program(name, package, version(module, name, package)) for name, package in packages.items()]


def version(module: Path, name: str, package: str) -> str:
    """The version of `package`, which the program `name` is made of, that the Go module requires."""
    required = REQUIREMENT.findall((module / "go.mod").read_text())
    versions = [pinned for source, pinned in required if f"{package}/".startswith(f"{source}/")]
    if not versions:
        raise Failure(
            f"The version of {name} is not known.",
            f"{module / 'go.mod'} does not require {package}.",
            f"Restore the file: git checkout {module / 'go.mod'}",
        )
    return str(versions[0])


def cache_key(module: Path) -> str:
    """A name for exactly these versions on this kind of machine."""
    digest = hashlib.sha256()
    for path in (module / "go.mod", module / "go.sum", *sorted(module.rglob("*.go"))):
        digest.update(path.read_bytes())
    return f"{module.name}-{digest.hexdigest()[:16]}-{os.uname().machine}"


def obtain(module: Path, cache: Path, wanted: Sequence[Program] = ()) -> Mapping[str, Path]:
    """The path of each program of `wanted`, by name; those missing are installed into `cache` first.

    Without `wanted` those of the control plane.
    """
    folder = cache / cache_key(module)
    wanted = wanted or programs(module)
    if _missing(folder, wanted):
        waiting = "Another process is installing the sandbox's programs; waiting for it …"
        with locked(folder.with_suffix(".lock"), waiting):
            folder.mkdir(exist_ok=True)
            _install_missing(module, wanted, folder)
    return {program.name: folder / program.name for program in wanted}


def _missing(folder: Path, wanted: Sequence[Program]) -> list[Program]:
    return [program for program in wanted if not (folder / program.name).exists()]


def _install_missing(module: Path, wanted: Sequence[Program], folder: Path) -> None:
    for program in _missing(folder, wanted):
        _from_path(program, folder)
    # On the same file system, so that a finished program is renamed into place whole.
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=folder) as staging:
        for program in _missing(folder, wanted):
            if program.version and (fetched := downloads.fetch(program.name, program.version, Path(staging))):
                _install(fetched, folder / program.name)
        if missing := _missing(folder, wanted):
            variables = {"CGO_ENABLED": "0"} if all(program.static for program in missing) else {}
            packages = [program.package for program in missing]
            built = building.build(module, packages, Path(staging), variables)
            for program in missing:
                _install(built / building.binary_name(program.package), folder / program.name)


def _from_path(program: Program, folder: Path) -> None:
    """Use an installed program of exactly the pinned version."""
    found = shutil.which(program.name) if program.version else None
    if found and building.version_of(Path(found)) == program.version:
        console.say(f"Using {found} ({program.version}).")
        (folder / program.name).symlink_to(found)


def _install(built: Path, place: Path) -> None:
    built.chmod(0o755)
    built.replace(place)
