"""Layers of images: a distribution's base, and what a script changes in it; each is made once and kept."""

import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sandbox import building
from sandbox.images import archive
from sandbox.images.archive import Blob
from sandbox.state import locked
from tasks.lib import console, process
from tasks.lib.console import spoken
from tasks.lib.errors import Failure, TimedOut

MIRROR = "http://deb.debian.org/debian"
# A busy machine may take an hour for what takes minutes on an idle one.
TIME_LIMIT = 3 * 3600.0
TREE = "tree"
SYSTEM = Path(__file__).with_name("system.sh")
INDEXES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
# What is mounted and started ends with the command, and the command with the thread that runs it.
# Everybody may read the files that it makes.
APART = (
    *("sh", "-c", 'umask 022; exec "$@"', "sh"),
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "--"),
)


@dataclass(frozen=True)
class Layer:
    """A layer's recipe: what a script, run as root, changes in the layers below; a base has none below.

    `files` are copied in before the script runs: path within the image to file or folder of this machine.
    Everybody may read them, and run those that their owner may run.
    """

    name: str
    script: str = ""
    below: "Layer | None" = None
    suite: str = ""
    packages: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """What the layer is kept under: it changes with anything that goes into it."""
        below = self.below.key if self.below else ""
        told = [digest_of(SYSTEM), below, self.suite, self.packages, self.script, self._content()]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    @property
    def stack(self) -> "list[Layer]":
        """This layer and all below it, the lowest first."""
        return [*(self.below.stack if self.below else ()), self]

    def folder(self, layers: Path) -> Path:
        """Where it is kept among `layers`."""
        return layers / f"{self.name}-{self.key}"

    def is_made(self, layers: Path) -> bool:
        """Whether it is kept there."""
        return self.folder(layers).exists()

    def tree(self, layers: Path) -> Path:
        """Its files, as they lie in an overlay."""
        return self.folder(layers) / TREE

    def _content(self) -> dict[str, str]:
        return {place: digest_of(path) for place, path in sorted(self.files.items())}


def digest_of(path: Path) -> str:
    """A digest of a file and of whether it may be run, or of a folder's files with their names."""
    if path.is_symlink():
        return f"link-{path.readlink()}"
    if path.is_file():
        return f"{_mode(path):o}-{hashlib.sha256(path.read_bytes()).hexdigest()}"
    inside = [one for one in sorted(path.rglob("*")) if "__pycache__" not in one.parts]
    files = [one for one in inside if one.is_symlink() or one.is_file()]
    listed = [(str(one.relative_to(path)), digest_of(one)) for one in files]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def obtain(layer: Layer, layers: Path) -> tuple[Blob, ...]:
    """A layer and all below it as files, the lowest first; those that are missing are made.

    Raises:
        Failure: a script failed, or a package could not be fetched; its last lines are the reason.

    """
    for one in layer.stack:
        if not one.is_made(layers):
            waiting = f"Another process is making the layer {one.name}; waiting for it …"
            with locked(layers / f".{one.folder(layers).name}.lock", waiting):
                if not one.is_made(layers):
                    _make(one, layers)
    return tuple(Blob(path) for one in layer.stack for path in one.folder(layers).glob("*.tar"))


def _make(layer: Layer, layers: Path) -> None:
    """Make a layer: its files, for layers above it, and the same packed for images."""
    console.say(f"Making the layer {layer.name}; that takes minutes, once …")
    began = time.monotonic()
    staging = layers / f".{layer.folder(layers).name}"
    _remove(staging)  # what a run that was killed has left
    made, upper = staging / "made", staging / "upper"
    made.mkdir(parents=True)
    upper.mkdir(mode=0o755)
    upper.chmod(0o755)
    try:
        with building.reporting(f"making {layer.name}"):
            if layer.below:
                _run(layer, [one.tree(layers) for one in layer.below.stack], staging)
            else:
                _run_base(layer, upper)
            archive.pack(upper, made)
        upper.rename(made / TREE)
        made.rename(layer.folder(layers))
    except Failure as failure:
        raise _told(layer, failure) from failure
    finally:
        _remove(staging)
    console.say(f"  The layer {layer.name} took {spoken(time.monotonic() - began)}.")


def _told(layer: Layer, failure: Failure) -> Failure:
    """The failure of a command as that of the layer."""
    next_step = failure.next_step or "Run the same command again: what was made before is kept."
    what, late = f"The layer {layer.name} could not be made.", isinstance(failure, TimedOut)
    limit = f"It was not done within {spoken(TIME_LIMIT)} and was ended. " if late else ""
    return failure.retold(what=what, why=f"{limit}{failure.why}", next_step=next_step)


def _remove(staging: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(staging)


def _run_base(layer: Layer, root: Path) -> None:
    """Install a distribution; debootstrap checks what it fetches against the distribution's signed lists."""
    if not shutil.which("debootstrap"):
        next_step = "Debian, Ubuntu: apt-get install debootstrap debian-archive-keyring"
        raise Failure("Images cannot be made.", "debootstrap is not installed.", next_step)
    include = ",".join(layer.packages)
    options = ("--force-check-gpg", "--variant=minbase", f"--include={include}")
    process.run((*APART, "debootstrap", *options, layer.suite, str(root), MIRROR), time_limit=TIME_LIMIT)
    process.run(("bash", str(SYSTEM), "clean", str(root)), time_limit=TIME_LIMIT)


def _run(layer: Layer, below: list[Path], staging: Path) -> None:
    """Run a layer's script in what is below it; what it changes comes to lie in staging/upper."""
    for place, path in layer.files.items():
        target = staging / "upper" / place.lstrip("/")
        _make_folder(target.parent)
        _copy(path, target)
    _execute(layer, below, staging)


def _execute(layer: Layer, below: list[Path], staging: Path) -> None:
    lower = ":".join(str(folder) for folder in reversed(below))
    argv = (*APART, "bash", str(SYSTEM), "run", lower, str(staging))
    env = {"PIP_INDEX_URL": index(os.environ)}
    process.run(argv, stdin=layer.script.encode(), env=env, time_limit=TIME_LIMIT)


def index(environ: Mapping[str, str]) -> str | None:
    """Where Python packages come from: what pip's or uv's variables say; None means their default."""
    return next((environ[name] for name in INDEXES if environ.get(name)), None)


def _copy(path: Path, target: Path) -> None:
    """Copy a file or folder as git would check it out, whatever this process's umask is."""
    if path.is_symlink():
        target.symlink_to(path.readlink())
    elif path.is_dir():
        _make_folder(target)
        for entry in path.iterdir():
            if entry.name != "__pycache__":
                _copy(entry, target / entry.name)
    else:
        shutil.copyfile(path, target)
        target.chmod(_mode(path))


def _make_folder(path: Path) -> None:
    """Make a folder with those above it, which everybody may enter."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir()
        path.chmod(0o755)


def _mode(path: Path) -> int:
    """The mode that git would restore the file with."""
    return 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
