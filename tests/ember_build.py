"""A small Ember app, built by the real ember-cli: npm's packages and what was built are kept outside the checkout."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.debian import require, unavailable

SOURCES = Path(__file__).parent / "data" / "ember-app"
SECONDS_TO_INSTALL, SECONDS_TO_BUILD = 900, 400


class Kind(NamedTuple):
    """How an app is built.

    Args:
        prepend: where the site serves it, in every address; empty: addresses stay relative.
        chunks: where the code of npm packages is asked for; empty: as ember-auto-import does by itself.
    """

    prepend: str = ""
    chunks: str = ""


def built(version: str, kind: Kind) -> Path:
    """The dist/ of the app in which template and style say this version; built where it is not kept."""
    folder = _cache()
    digest = hashlib.sha256(repr((version, kind)).encode())
    for path in sorted(path for path in SOURCES.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    dist = folder / f"dist-{digest.hexdigest()[:16]}"
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not dist.exists():
            _build(folder, version, kind, dist)
    return dist


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "lookit-orchestrator" / "ember-app"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _build(folder: Path, version: str, kind: Kind, dist: Path) -> None:
    # Built beside its packages: where node_modules is a link, ember-auto-import finds none of them.
    app = _installed(folder)
    shutil.copytree(SOURCES, app, dirs_exist_ok=True)
    for path, text in (
        ("app/templates/application.hbs", "template 1"),
        ("app/styles/app.css", "--version: 1"),
    ):
        changed = (app / path).read_text().replace(text, text.replace("1", version))
        (app / path).write_text(changed)
    environment = {**os.environ, "CI": "1", "PREPEND": kind.prepend, "CHUNKS": kind.chunks}
    ember = ["node_modules/.bin/ember", "build", "--environment=production"]
    done = subprocess.run(
        ember, cwd=app, env=environment, capture_output=True, text=True, timeout=SECONDS_TO_BUILD, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (app / "dist").rename(dist)


def _installed(folder: Path) -> Path:
    """A folder with the packages of package-lock.json."""
    digest = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()[:16]
    packages = folder / f"packages-{digest}"
    if not (packages / "complete").exists():
        shutil.rmtree(packages, ignore_errors=True)
        packages.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCES / name, packages)
        install = [require("npm", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            install, cwd=packages, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL, check=False
        )  # fmt: skip
        if done.returncode != 0:
            unavailable(f"npm could not install ember-cli: {done.stderr[-500:]}")
        (packages / "complete").touch()
    return packages
