"""Programs that tests need, installed from Debian or Ubuntu where they are missing."""

import os
import shutil
import subprocess

import pytest

SECONDS_TO_INSTALL = 900
# Workers of one run may install side by side: each waits until the other is done.
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq")


def require(program: str, package: str) -> str:
    """The path of a program, installed first where it is missing; the test is skipped where that is not possible."""
    if found := _find(program):
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip(f"{program} is not installed (Debian, Ubuntu: sudo apt-get install {package})")
    install = (*APT, "install", "-y", "--no-install-recommends", package)
    if not _succeeds(*install) and not (_succeeds(*APT, "update") and _succeeds(*install)):
        pytest.skip(f"{program} is not installed, and apt-get could not install {package}")
    return _find(program)


def _find(program: str) -> str:
    """Where a program is: servers stand in a folder that only root has on its PATH."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin") or ""


def _succeeds(*argv: str) -> bool:
    done = subprocess.run(argv, capture_output=True, check=False, timeout=SECONDS_TO_INSTALL)
    return done.returncode == 0
