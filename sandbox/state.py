"""Where one sandbox keeps what it owns: a folder per checkout, and the names of the files in it."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tasks.lib import console
from tasks.lib.background import call
from tasks.lib.errors import Failure
from tasks.lib.files import real
from tasks.lib.settings.reader import Layer, merged

DEFAULT_FOLDER = ".sandbox"


class State:
    """The folder of one sandbox, which need not exist yet, and what lies in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Held while the sandbox is brought up or down; the first file that `up` creates.
        self.lock = folder / "up.lock"
        # The components that shall run; their ports; one file per running process.
        self.plan = folder / "components.json"
        self.ports = folder / "ports.json"
        self.processes = folder / "processes"
        # A file in it, named after a component, keeps that component stopped.
        self.held = folder / "held"
        # One folder per cluster: certificates, configuration, etcd's data.
        self.clusters = folder / "clusters"
        # What Google knows: accounts, tokens, clusters, databases, secrets.
        self.google = folder / "google"
        self.tls = folder / "tls"
        self.kms = folder / "kms"
        self.storage = folder / "storage"

    def cluster(self, name: str) -> Path:
        """The folder of one cluster."""
        return self.clusters / name

    def key_file(self, account: str) -> Path:
        """The key file of one service account."""
        return self.google / f"{account}.json"

    def ciphertexts(self, environment: str) -> Path:
        """The encrypted placeholder secrets of one environment."""
        return self.folder / "ciphertexts" / environment

    def log(self, component: str) -> Path:
        """The log file of one component."""
        return self.folder / "logs" / f"{component}.log"


def state_from_layers(root: Path, layers: Sequence[Layer]) -> State:
    """The sandbox that the setting sandbox.state names, relative to `root`, whatever else is not valid."""
    sandbox = merged(layers).get("sandbox")
    named = sandbox.get("state") if isinstance(sandbox, Mapping) else None
    return State(real(root / str(named or DEFAULT_FOLDER)))


def stored(path: Path) -> Any:
    """What the sandbox keeps as JSON in `path`.

    Raises:
        FileNotFoundError: there is no such file.
        Failure: it is damaged, as a disk that was full or lost its power leaves files.

    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        next_step = "./inv sandbox.down removes the sandbox, and ./inv sandbox.up creates it again."
        raise Failure(f"The sandbox's file {path} is damaged.", str(error), next_step) from error


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file `path` while inside; say `waiting` once when another process has it.

    The system drops the lock with the process, so a crash leaves none behind.
    Whoever had it may have removed the file; the lock is then that of another file.
    """
    import fcntl

    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                console.say(waiting)
                call(fcntl.flock, file, fcntl.LOCK_EX)
            if _is_at(path, file):
                yield
                return


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether an open file is the one at `path`, where another may have been made since."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
