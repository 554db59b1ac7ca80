"""Whether a real node can run on this machine, looked at before anything is started; all problems at once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.containers import cgroups
from tasks.lib.errors import Failure

# Of Linux' capabilities: their bits in /proc/self/status, and what each is for.
CAPABILITIES = {
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_MKNOD": 27,
}
SYS_RESOURCE = 24
PROGRAMS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
}
KERNEL = (5, 13)  # kube-proxy's nftables
ROOM = 5 * 1024**3
# What makes images, and the keys that their packages are checked with.
DEBOOTSTRAP = "debootstrap"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ROOM_TO_MAKE = 3 * 1024**3
# File systems that overlayfs writes to; others may as well, but not overlay itself and network file systems.
UNFIT = frozenset({"overlay", "aufs", "nfs", "nfs4", "9p", "fuse", "vboxsf", "cifs"})
HIDDEN = (Path("/var"), Path("/run"))
# What a container may forbid in spite of all capabilities: namespaces, mounts in them, and links.
ATTEMPT = (
    *("unshare", "--net", "--mount", "--mount-proc", "--propagation=slave"),
    *("--pid", "--fork", "--kill-child"),
    *("sh", "-ec", "mount -t tmpfs tmpfs /run; ip link add lookit0 type veth peer name lookit1"),
)
SECONDS_FOR_IT = 120


@dataclass(frozen=True)
class Folder:
    """A folder that something is to be kept in, which need not exist yet."""

    path: Path
    file_system: str
    free: int


@dataclass(frozen=True)
class Machine:
    """What was found on this machine.

    Args:
        platform: Python's name for the system.
        user: as whom this process runs.
        kernel: its version.
        capabilities: those of this process, a bit each.
        programs: those of PROGRAMS that are there, and debootstrap.
        controllers: those of control groups.
        may_make_groups: whether control groups can be made.
        state: the sandbox's folder.
        images: where images are going to be made; none where all of them are there.
        has_keyring: whether the keys of Debian's archive are there.
        refused: why namespaces such as a node's could not be made; empty where they could, or were not tried.

    """

    platform: str
    user: int
    kernel: tuple[int, int]
    capabilities: int
    programs: frozenset[str]
    controllers: frozenset[str]
    may_make_groups: bool
    state: Folder
    images: Folder | None = None
    has_keyring: bool = True
    refused: str = ""

    def has(self, bit: int) -> bool:
        """Whether this process has the capability with that bit."""
        return bool(self.capabilities >> bit & 1)


@dataclass(frozen=True)
class Problem:
    """What is missing, and how to get it; `package` is that of Debian and Ubuntu, where one brings it."""

    what: str
    fix: str
    package: str = ""


def _of_package(what: str, package: str) -> Problem:
    return Problem(what, f"Debian, Ubuntu: apt-get install {package}", package)


def look(folder: Path, images: Path | None = None) -> Machine:
    """Look at this machine; `folder` is the sandbox's, and images are going to be made in `images`."""
    linux = sys.platform == "linux"
    return Machine(
        platform=sys.platform,
        user=os.geteuid(),
        kernel=_kernel(os.uname().release),
        capabilities=_capabilities(Path("/proc/self/status").read_text()) if linux else 0,
        programs=frozenset(name for name in (*PROGRAMS, DEBOOTSTRAP) if shutil.which(name, path=_path())),
        controllers=frozenset(cgroups.controllers()) if linux else frozenset(),
        may_make_groups=linux and cgroups.is_writable(),
        state=_look_at(folder),
        images=_look_at(images) if images else None,
        has_keyring=KEYRING.exists(),
        refused=attempt(ATTEMPT) if linux and os.geteuid() == 0 else "",
    )


def attempt(argv: Sequence[str]) -> str:
    """Why a command fails; empty where it does not."""
    env = {**os.environ, "PATH": _path()}
    try:
        done = subprocess.run(argv, capture_output=True, timeout=SECONDS_FOR_IT, check=False, env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip() or "It says nothing."


def _look_at(folder: Path) -> Folder:
    mounts = Path("/proc/self/mountinfo")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    kind = _file_system(there, mounts.read_text()) if mounts.exists() else ""
    return Folder(folder, kind, shutil.disk_usage(there).free)


def problems(machine: Machine) -> Iterator[Problem]:
    """What keeps a real node from running; on another system than Linux that is all there is to say."""
    if machine.platform != "linux":
        yield Problem(
            f"This is {machine.platform}; containers need Linux.", "Use a Linux machine or virtual machine."
        )
        return
    if machine.user != 0:
        yield Problem(
            "Only root may make namespaces and control groups.", "Run the command as root, e.g. with sudo -E."
        )
    missing = [
        _of_package(f"{name} is not installed.", package)
        for name, package in PROGRAMS.items() if name not in machine.programs
    ]  # fmt: skip
    found = [*_of_kernel(machine), *missing]
    yield from found
    if machine.refused and not found:
        yield Problem(
            f"Namespaces of a node cannot be made: {machine.refused}",
            "In a container: run that with --privileged.",
        )
    yield from _of_folder(machine.state)
    if machine.images:
        yield from _of_making(machine, machine.images)


def require(machine: Machine) -> None:
    """Require that a real node can run here.

    Raises:
        Failure: it cannot; every problem is named with its fix.

    """
    found = list(problems(machine))
    if found:
        fixes = dict.fromkeys(one.fix for one in found)
        raise Failure(
            "A real node cannot run on this machine.",
            "\n".join(one.what for one in found),
            "\n".join([*fixes, "Without --containers the sandbox runs everywhere on Linux."]),
        )


def _of_kernel(machine: Machine) -> Iterator[Problem]:
    if machine.kernel < KERNEL:
        needed = ".".join(str(part) for part in KERNEL)
        yield Problem(f"The kernel is older than {needed}, which kube-proxy needs.", "Use a newer Linux.")
    lacking = [name for name, bit in CAPABILITIES.items() if not machine.has(bit)]
    if machine.user == 0 and lacking:
        yield Problem(
            f"Root lacks {', '.join(lacking)} here.",
            "In a container: run that with --privileged.",
        )
    absent = [name for name in cgroups.NEEDED if name not in machine.controllers]
    if absent:
        yield Problem(
            f"Control groups lack {', '.join(absent)}.",
            "Mount them at /sys/fs/cgroup (systemd does), or in a container: run that with --privileged.",
        )
    elif machine.user == 0 and not machine.may_make_groups:
        yield Problem(
            "Control groups cannot be made in /sys/fs/cgroup.", "In a container: run that with --privileged."
        )


def _of_folder(folder: Folder) -> Iterator[Problem]:
    elsewhere = "Name another folder: INVOKE_SANDBOX_STATE=/srv/sandbox"
    hidden = [path for path in HIDDEN if folder.path.is_relative_to(path)]
    if hidden:
        yield Problem(f"The sandbox's folder lies in {hidden[0]}, of which a node has its own.", elsewhere)
    if _is_unfit(folder):
        yield Problem(
            f"Containers cannot write to {folder.path}: its file system is {folder.file_system}.", elsewhere
        )
    yield from _of_room(folder, ROOM)


def _of_making(machine: Machine, folder: Folder) -> Iterator[Problem]:
    if DEBOOTSTRAP not in machine.programs:
        yield _of_package("debootstrap, which makes images, is not installed.", DEBOOTSTRAP)
    if not machine.has_keyring:
        yield _of_package(
            f"{KEYRING} is missing: an image's packages are checked with it.", "debian-archive-keyring"
        )
    if _is_unfit(folder):
        yield Problem(
            f"Images cannot be made in {folder.path}: its file system is {folder.file_system}.",
            "Name another folder: XDG_CACHE_HOME=/srv/cache",
        )
    yield from _of_room(folder, ROOM_TO_MAKE)


def _of_room(folder: Folder, needed: int) -> Iterator[Problem]:
    if folder.free < needed:
        free, room = (f"{size / 1024**3:.1f} GiB" for size in (folder.free, needed))
        yield Problem(f"{free} are free in {folder.path}; images need {room}.", "Free some space there.")


def _is_unfit(folder: Folder) -> bool:
    return folder.file_system.partition(".")[0] in UNFIT


def _kernel(release: str) -> tuple[int, int]:
    major, minor, *_ = release.split(".")
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)


def _capabilities(status: str) -> int:
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return int(line.split()[1], 16)


def _file_system(path: Path, mounts: str) -> str:
    """The type of the file system that `path` lies on, from /proc/self/mountinfo."""
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, after.split()[0]
    return kind


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
