"""Programs that tests need, installed from Debian or Ubuntu where they are missing."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SECONDS_TO_INSTALL = 900
# What else of this machine installs just now is waited for.
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq")


def require(program: str, package: str) -> str:
    """The path of a program, installed first where it is missing; the test is skipped where that is not possible."""
    if not _may_install():
        if found := _find(program):
            return found
        pytest.skip(f"{program} is not installed (Debian, Ubuntu: sudo apt-get install {package})")
    # Looked for only when nobody installs anything: a program is unpacked before the libraries that it needs.
    with (Path(tempfile.gettempdir()) / "lookit-apt.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _find(program):
            _install(program, package)
    return _find(program)


def _may_install() -> bool:
    return os.geteuid() == 0 and bool(shutil.which("apt-get"))


def _install(program: str, package: str) -> None:
    install = (*APT, "install", "-y", "--no-install-recommends", package)
    if not _succeeds(*install) and not (_succeeds(*APT, "update") and _succeeds(*install)):
        pytest.skip(f"{program} is not installed, and apt-get could not install {package}")


def _find(program: str) -> str:
    """Where a program is: servers stand in a folder that only root has on its PATH."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin") or ""


def _succeeds(*argv: str) -> bool:
    done = subprocess.run(argv, capture_output=True, check=False, timeout=SECONDS_TO_INSTALL)
    return done.returncode == 0
