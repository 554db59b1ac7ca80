"""What runs containers: containerd, runc, CNI plugins and nft, installed or from the distribution's packages.

Packages of Debian and Ubuntu are unpacked into the cache, each into a folder of its own; none is installed.
apt checks what it downloads against the distribution's signed lists.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sandbox.state import locked
from tasks.lib import console
from tasks.lib.errors import Failure
from tasks.lib.process import run

# Programs, and the package of Debian and Ubuntu that each is in.
PROGRAMS = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
}
PLUGINS_PACKAGE = "containernetworking-plugins"
PLUGINS = ("ptp", "host-local", "loopback")
PROGRAM_FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
PLUGIN_FOLDERS = ("usr/lib/cni", "opt/cni/bin", "usr/libexec/cni")
TIME_LIMIT = 600.0
# Looking does not need apt's lock, which only root may take and which another command may hold.
APT = ("apt-get", "-qq", "-o", "Debug::NoLocking=1")


@dataclass(frozen=True)
class Tools:
    """Where the programs are: folders for PATH and LD_LIBRARY_PATH, and the folder of the CNI plugins."""

    path: str
    libraries: str
    plugins: Path
    programs: dict[str, Path]

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which these programs run and find one another."""
        libraries = {"LD_LIBRARY_PATH": self.libraries} if self.libraries else {}
        return {"PATH": self.path, **libraries}


def obtain(cache: Path, system: Path = Path("/")) -> Tools:
    """Find every program; packages of those that this machine has not are unpacked into `cache`.

    Raises:
        Failure: a package could not be fetched; it says which to install.

    """
    folder = cache / "packages"
    if missing(_places(folder, system)):
        waiting = "Another process is fetching the real node's packages; waiting for it …"
        with locked(folder.with_suffix(".lock"), waiting):
            _unpack(missing(_places(folder, system)), folder)
    return _tools(_places(folder, system))


def container(tools: Tools) -> dict[str, Any]:
    """The description that containerd begins every container with, where it is given no other.

    Raises:
        Failure: ctr does not print it.

    """
    done = run((str(tools.programs["ctr"]), "oci", "spec"), env=tools.environment, time_limit=TIME_LIMIT)
    return dict(json.loads(done.stdout))


def missing(places: Sequence[Path]) -> list[str]:
    """The packages whose programs are in none of `places`."""
    absent = [package for name, package in PROGRAMS.items() if not _program(name, places)]
    return [*dict.fromkeys(absent), *([] if _plugins(places) else [PLUGINS_PACKAGE])]


def _places(folder: Path, system: Path) -> list[Path]:
    """Roots of file trees: the machine's own first, then those that packages were unpacked to."""
    return [system, *sorted(folder.glob("[!.]*"))]


def _tools(places: Sequence[Path]) -> Tools:
    programs = {name: found for name in PROGRAMS if (found := _program(name, places))}
    plugins = _plugins(places)
    if len(programs) < len(PROGRAMS) or not plugins:
        raise _not_to_be_had(missing(places), "The packages that were unpacked do not hold the programs.")
    libraries = [path for place in places[1:] for path in sorted(place.glob("usr/lib/*-linux-*"))]
    path = [*dict.fromkeys(str(found.parent) for found in programs.values()), *_system_path(places[0])]
    return Tools(":".join(path), ":".join(str(one) for one in libraries), plugins, programs)


def _system_path(system: Path) -> Iterable[str]:
    return [str(system / folder) for folder in PROGRAM_FOLDERS]


def _program(name: str, places: Sequence[Path]) -> Path | None:
    return next(
        (path for place in places for folder in PROGRAM_FOLDERS if (path := place / folder / name).exists()),
        None,
    )


def _plugins(places: Sequence[Path]) -> Path | None:
    folders = [place / folder for place in places for folder in PLUGIN_FOLDERS]
    return next((one for one in folders if all((one / name).exists() for name in PLUGINS)), None)


def _unpack(packages: Sequence[str], folder: Path) -> None:
    """Fetch packages with what they need and this machine has not, and unpack each whole or not at all."""
    if not packages:
        return
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise _not_to_be_had(packages, "This machine has no apt-get and dpkg to fetch packages with.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=folder) as staging:
        try:
            archives = _fetch(packages, Path(staging))
        except Failure as failure:
            raise _not_to_be_had(packages, failure.why) from failure
        for archive in archives:
            tree = Path(staging) / "tree"
            run(("dpkg", "-x", str(archive), str(tree)), time_limit=TIME_LIMIT)
            tree.rename(folder / archive.stem)


def _fetch(packages: Sequence[str], folder: Path) -> list[Path]:
    needed = (*APT, "install", "--print-uris", "--no-install-recommends", *packages)
    wanted = specifications(run(needed, time_limit=TIME_LIMIT).stdout.decode())
    console.say(f"Fetching {', '.join(one.partition('=')[0] for one in wanted)} (unpacked, not installed) …")
    run((*APT, "download", *wanted), time_limit=TIME_LIMIT, cwd=folder)
    return sorted(folder.glob("*.deb"))


def specifications(printed: str) -> list[str]:
    """The packages, as name=version, that `apt-get install --print-uris` would fetch."""
    files = re.findall(r"^'[^']+' (\S+)_(\S+)_[^_\s]+\.deb ", printed, re.MULTILINE)
    return [f"{name}={unquote(version)}" for name, version in files]


def _not_to_be_had(packages: Sequence[str], why: str) -> Failure:
    return Failure(
        "The programs of a real node are not available.",
        f"Missing: {', '.join(packages)}. {why}",
        "Debian, Ubuntu: apt-get update, then the same command again. Elsewhere install containerd, runc, "
        "nftables and, in /opt/cni/bin, https://github.com/containernetworking/plugins/releases.",
    )
