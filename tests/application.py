"""The sandbox's application in plain processes: its packages from the lock, and its commands as the manifests have them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from sandbox.binaries import cache_folder
from sandbox.state import locked

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "sandbox" / "application"
LOCK = ROOT / "requirements" / "application.txt"
# uWSGI is compiled, on a machine that others use too.
SECONDS_TO_INSTALL = 900


def programs() -> Path:
    """The folder of the application's programs, installed once for each lock and each Python."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    folder = cache_folder() / f"application-{python}-{digest}"
    complete = folder / "complete"
    with locked(folder.with_suffix(".lock"), "Another process is installing the application's packages …"):
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip = [
                str(folder / "bin" / "pip"),
                "install",
                "--quiet",
                "--require-hashes",
                "--no-deps",
                "-r",
                str(LOCK),
            ]
            subprocess.run(pip, check=True, timeout=SECONDS_TO_INSTALL)
            complete.touch()
    return folder / "bin"


def variables(**own: str) -> dict[str, str]:
    """The environment of a container of the application, with `own` values."""
    plain = {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "ALLOWED_HOSTS": "babieshelpingscience.com",
        "GEVENT": "1",
    }
    return {"PATH": f"{programs()}:{os.environ['PATH']}", **plain, **own}
