"""Where one sandbox keeps what it owns: a folder per checkout, and the names of the files in it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.lib import console
from tasks.lib.background import call
from tasks.lib.errors import Failure
from tasks.lib.files import real
from tasks.lib.settings.reader import Layer, merged

DEFAULT_FOLDER = ".sandbox"


@dataclass(frozen=True)
class State:
    """The folder of one sandbox; it need not exist yet."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held while the sandbox is brought up or down; the first file that `up` makes."""
        return self.folder / "up.lock"

    @property
    def plan(self) -> Path:
        """The components that shall run, read by the supervisor."""
        return self.folder / "components.json"

    @property
    def processes(self) -> Path:
        """One file per running process: number, start time, restarts."""
        return self.folder / "processes"

    @property
    def held(self) -> Path:
        """A file here, named after a component, keeps that component stopped."""
        return self.folder / "held"

    @property
    def ports(self) -> Path:
        """Which port each service of this sandbox was given."""
        return self.folder / "ports.json"

    @property
    def clusters(self) -> Path:
        """One folder per cluster: certificates, configuration, etcd's data."""
        return self.folder / "clusters"

    def cluster(self, name: str) -> Path:
        """The folder of the cluster called `name`."""
        return self.clusters / name

    @property
    def google(self) -> Path:
        """What stands in for Google knows: accounts, tokens, clusters."""
        return self.folder / "google"

    def key_file(self, account: str) -> Path:
        """The key file of one service account."""
        return self.google / f"{account}.json"

    @property
    def tls(self) -> Path:
        """Certificate authority and certificate of the Google side."""
        return self.folder / "tls"

    @property
    def kms(self) -> Path:
        """The keys of the sandbox's KMS."""
        return self.folder / "kms"

    @property
    def storage(self) -> Path:
        """The objects of the sandbox's buckets."""
        return self.folder / "storage"

    def ciphertexts(self, environment: str) -> Path:
        """The encrypted placeholder secrets of one environment."""
        return self.folder / "ciphertexts" / environment

    def log(self, component: str) -> Path:
        """The log file of one component."""
        return self.folder / "logs" / f"{component}.log"


def state_of(root: Path, values: Mapping[str, Any]) -> State:
    """The state folder that the setting sandbox.state names, relative to `root`.

    Args:
        root: the checkout.
        values: merged settings, not validated yet.

    """
    sandbox = values.get("sandbox")
    named = sandbox.get("state") if isinstance(sandbox, Mapping) else None
    return State(real(root / str(named or DEFAULT_FOLDER)))


def state_from_layers(root: Path, layers: Sequence[Layer]) -> State:
    """As `state_of`, from the layers of settings."""
    return state_of(root, merged(layers))


def stored(path: Path) -> Any:
    """What the sandbox keeps as JSON in `path`.

    Raises:
        FileNotFoundError: there is no such file.
        Failure: it is damaged, as a disk that was full or lost its power leaves files.

    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise Failure(
            f"The sandbox's file {path} is damaged.", str(error),
            "./inv sandbox.down clears the ground, and ./inv sandbox.up makes everything anew.",
        ) from error  # fmt: skip


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file `path` while inside; say `waiting` once when another process has it.

    The system drops the lock with the process, so a crash leaves none behind.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say(waiting)
            call(fcntl.flock, file, fcntl.LOCK_EX)
        yield
