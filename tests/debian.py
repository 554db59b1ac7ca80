"""Programs that tests need, installed from Debian or Ubuntu where they are missing."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

SECONDS_TO_INSTALL = 900
# What else of this machine installs just now is waited for.
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq")


def unavailable(why: str) -> NoReturn:
    """Skip the test, because this machine lacks what it needs; with LOOKIT_NO_SKIPS=1 it fails."""
    if os.environ.get("LOOKIT_NO_SKIPS") == "1":
        pytest.fail(f"{why}  (LOOKIT_NO_SKIPS=1: this is no reason to skip.)", pytrace=False)
    pytest.skip(why)


def require(program: str, package: str) -> str:
    """The path of a program, installed first where it is missing; without that, `unavailable`."""
    if not _may_install():
        if found := _find(program):
            return found
        unavailable(f"{program} is not installed (Debian, Ubuntu: sudo apt-get install {package})")
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
        unavailable(f"{program} is not installed, and apt-get could not install {package}")


def _find(program: str) -> str:
    """Where a program is: servers stand in a folder that only root has on its PATH."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin") or ""


def _succeeds(*argv: str) -> bool:
    done = subprocess.run(argv, capture_output=True, check=False, timeout=SECONDS_TO_INSTALL)
    return done.returncode == 0
