"""Docker for the tests that need it: an engine, base images made on this machine, and a registry.

Where an engine answers already, that one is used.  Otherwise, as root on Debian or Ubuntu, missing packages are
installed and an engine is started with a data folder of its own in the user's cache, so that base images are made once.
Elsewhere the tests are skipped, with the reason; with LOOKIT_NO_SKIPS=1 they fail.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.lib.image import test_run as test_runs
from tests.debian import require, unavailable
from tests.ports import SHARED, free_port
from tests.shared_service import SharedService

DATA = Path(__file__).parent / "data"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lookit-orchestrator"
HERE = CACHE / "engine"  # the socket and log of the engine that tests start
HOST = f"unix://{HERE}/docker.sock"
PACKAGES = ("python3", "python3-venv", "ca-certificates", "python3-django", "python3-psycopg2")
BASE = "lookit-test/base"
DATABASE = "lookit-test/postgres"
CLIENT = "lookit-test/docker-cli"
BUILDX = "github.com/docker/buildx/cmd/buildx@v0.38.2"
# What the orchestrator's image is built on where only this machine's images are to be had.
ORCHESTRATOR = {"BASE": f"{BASE}:local", "DOCKER_CLI": f"{CLIENT}:local"}
CONTENT = CACHE / "registry"
MOST_KEPT = 4 << 30  # bytes; above that the registry begins anew
SECONDS_TO_START = 180
SECONDS_TO_BUILD = 1800  # debootstrap and builds fetch packages


def output(*argv: str) -> str:
    """The stdout of a command that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=SECONDS_TO_BUILD)
    assert done.returncode == 0, f"{argv}: {done.stderr or done.stdout}"
    return done.stdout


def succeeds(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@contextmanager
def engine() -> Iterator[None]:
    """A Docker engine that answers at DOCKER_HOST, without what test runs that were killed left in it.

    The workers of a test run share one: the first starts it, and the last ends it.
    """
    require("docker", "docker.io")
    if succeeds("docker", "info"):
        test_runs.sweep(SECONDS_TO_START)
        yield
        return
    require("dockerd", "docker.io")
    if os.geteuid() != 0:
        unavailable("no Docker engine answers, and only root can start one (systemctl start docker)")
    with ENGINE.used(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", HOST)
        yield


def _end_engine() -> None:
    """End the engine on our data folder, which may be one that a killed test run left, and remove its folder."""
    _end_processes(CACHE / "docker")
    # The engine leaves its own network namespace mounted, and so its folder cannot be removed.
    for mounted in (HERE / "exec" / "netns").glob("*"):
        succeeds("umount", str(mounted))
    shutil.rmtree(HERE, ignore_errors=True)


def _end_processes(word: Path) -> None:
    """End what was started with this path among its arguments."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(word).encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGTERM)
                _wait_for_end(folder)


def _wait_for_end(folder: Path) -> None:
    """Until the process is gone, or a zombie that nobody collects: that has no command line any more."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        with suppress(OSError):
            if (folder / "cmdline").read_bytes():
                time.sleep(0.1)
                continue
        return


def _start_engine() -> None:
    """Start dockerd, apart from this process: it outlives the worker that starts it."""
    HERE.mkdir(parents=True, exist_ok=True)
    argv = [
        require("dockerd", "docker.io"), "--data-root", str(CACHE / "docker"), "--exec-root", str(HERE / "exec"),
        "--pidfile", str(HERE / "dockerd.pid"), "--host", HOST,
    ]  # fmt: skip
    with (HERE / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    if not _answers(("docker", "--host", HOST, "info"), process):
        end = "\n".join((HERE / "dockerd.log").read_text().splitlines()[-3:])
        _end_engine()
        unavailable(f"dockerd does not start on this machine:\n{end}")
    for kind in ("container", "network", "volume"):  # this engine's data is ours alone
        output("docker", "--host", HOST, kind, "prune", "--force")


ENGINE = SharedService(CACHE, "docker", _start_engine, _end_engine)


def _answers(argv: Sequence[str], process: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        if succeeds(*argv):
            return True
        time.sleep(0.2)
    return False


def made_by(pid: int) -> set[tuple[str, str]]:
    """What the task that ran as process `pid` of this machine made in the engine and that is there: kinds and names.

    No other process's things are among it: tests share the engine, and a machine's own engine has other users.
    """
    tests = f"label={test_runs.OWNER}={test_runs.here()}:{pid}"
    pipeline = f"name=lookit-pipeline-{platform.node()[:24]}-{pid}-"
    containers = {*_listed("ps", "--all", tests), *_listed("ps", "--all", pipeline)}
    mounts = "{{range .Mounts}}{{println .Name}}{{end}}"
    mounted = _output_of_what_is_there("inspect", "--format", mounts, *containers) if containers else ""
    return {
        *(("container", one) for one in containers),
        *(("network", one) for one in _listed("network", "ls", tests)),
        *(("volume", one) for one in {*mounted.split(), *_listed("volume", "ls", pipeline)}),
    }


def still_there(made: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of `made` that have not been removed."""
    return {(kind, name) for kind, name in made if succeeds("docker", kind, "inspect", name)}


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    """End a task with the block, however that ends, and remove what the task made in the engine."""
    try:
        yield
    finally:
        process.kill()
        process.wait()
        for kind, name in sorted(made_by(process.pid)):  # containers first
            succeeds("docker", kind, "rm", "--force", name)
        if process.stdout:
            process.stdout.close()
        if process.stderr:
            process.stderr.close()


def _listed(*argv: str) -> list[str]:
    """The names that `docker ARGV` lists; the last word is the filter."""
    *command, only = argv
    name = "{{.Names}}" if command[0] == "ps" else "{{.Name}}"
    return output("docker", *command, "--filter", only, "--format", name).split()


def _output_of_what_is_there(*argv: str) -> str:
    """The same as `output`, but what went meanwhile is no failure."""
    return subprocess.run(("docker", *argv), capture_output=True, text=True, check=False).stdout


def base_images() -> None:
    """Make the images that the tests build on, unless this engine has them from an earlier run.

    lookit-test/base holds Python and Django from Debian, and this machine's certificate authorities, with which pip
    in a build reaches what pip here reaches; lookit-test/postgres holds PostgreSQL.
    """
    with ENGINE.alone():
        _make_base_images()


def _make_base_images() -> None:
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    authorities = bundle.read_bytes() if bundle.exists() else b""
    base = f"{BASE}:{_hash(' '.join(PACKAGES).encode() + authorities)}"
    if not succeeds("docker", "image", "inspect", base):
        _import_debian(base, authorities)
    output("docker", "tag", base, f"{BASE}:local")
    folder = DATA / "images" / "postgres"
    database = (
        f"{DATABASE}:{_hash(base.encode() + b''.join(p.read_bytes() for p in sorted(folder.iterdir())))}"
    )
    if not succeeds("docker", "image", "inspect", database):
        output("docker", "build", "--quiet", "--network", "host", "--tag", database, str(folder))
    output("docker", "tag", database, f"{DATABASE}:local")


def docker_client_image() -> None:
    """An image with nothing but this machine's Docker client, for the orchestrator's image to take it from."""
    client = Path(shutil.which("docker") or "").resolve()
    with tempfile.TemporaryDirectory(prefix="lookit-cli-") as folder:
        shutil.copy(client, Path(folder) / "docker")
        (Path(folder) / "Dockerfile").write_text("FROM scratch\nCOPY docker /usr/local/bin/docker\n")
        output("docker", "build", "--quiet", "--tag", f"{CLIENT}:local", folder)


def buildx_configuration() -> Path:
    """A folder for DOCKER_CONFIG with the plugin buildx, which is built from Go source once and kept."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        unavailable("buildx is built from Go source, and Go is not installed (https://go.dev/dl)")
    folder = CACHE / f"buildx-{BUILDX.rpartition('@')[2]}-{platform.machine()}"
    plugin = folder / "cli-plugins" / "docker-buildx"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=folder) as made:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not plugin.exists():
            output("env", f"GOBIN={made}", "GOFLAGS=", "GOWORK=off", go, "install", BUILDX)
            (Path(made) / "buildx").rename(plugin)
    return folder


def client_with_buildkit(folder: Path) -> Path:
    """A folder for PATH with a Docker client of before 23, which carries BuildKit itself, as Debian 12 has it."""
    client = Path("/usr/bin/docker")
    told = output(str(client), "--version") if client.exists() else ""
    if not told or int(told.split("version ")[1].split(".")[0]) >= 23:
        unavailable("there is no Docker client of before 23 (Debian 12: apt-get install docker.io)")
    (folder / "docker").symlink_to(client)
    return folder


def _import_debian(image: str, authorities: bytes) -> None:
    require("debootstrap", "debootstrap")
    if os.geteuid() != 0:
        unavailable("base images are made with debootstrap, which only root can run")
    with tempfile.TemporaryDirectory(prefix="lookit-base-", dir=_roomy_memory()) as folder:
        output("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", folder)
        if authorities:
            (Path(folder) / "etc/ssl/certs/ca-certificates.crt").write_bytes(authorities)
        shutil.rmtree(Path(folder) / "var/cache/apt/archives")
        with subprocess.Popen(("tar", "-C", folder, "-c", "."), stdout=subprocess.PIPE) as tar:
            argv = (
                "docker",
                "import",
                "--change",
                "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
                "-",
                image,
            )
            subprocess.run(argv, stdin=tar.stdout, check=True, capture_output=True)


def _roomy_memory() -> str | None:
    """A tmpfs with room for a base system: dpkg waits for the disk after every file, and there it need not."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30 else None


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@dataclass
class RegistryProcess:
    """A registry on this machine; stopped and started again at will, it keeps its address and content."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *, outlives: bool = False) -> None:
        """Start it; `outlives` where it serves other runs too, so that Ctrl-C in this one does not end it."""
        log = (self.folder / "log").open("wb")
        argv = (require("docker-registry", "docker-registry"), "serve", str(self.folder / "config.yml"))
        self.process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=outlives)
        deadline = time.monotonic() + SECONDS_TO_START
        while not _listens(self.port):
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the registry does not listen"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(SECONDS_TO_START)
            self.process = None


@contextmanager
def registry(folder: Path, *, users: str = "", read_only: bool = False) -> Iterator[RegistryProcess]:
    """A registry (Debian's docker-registry) with its content in `folder`.

    Args:
        folder: an empty folder of its own.
        users: lines of an htpasswd file (bcrypt); empty lets everybody in.
        read_only: whether it refuses every write.

    """
    served = RegistryProcess(folder, free_port())
    (folder / "config.yml").write_text(_registry_config(served, users, read_only=read_only))
    (folder / "htpasswd").write_text(users)
    served.start()
    try:
        yield served
    finally:
        served.stop()


@contextmanager
def kept_registry() -> Iterator[RegistryProcess]:
    """A registry that test runs share and that keeps its content, for tests that push large layers.

    The engine compresses a layer anew for each registry, which takes it half a minute for one of Debian; where it
    pushed one before it only asks.  So each test takes a repository of its own, whose name none had before.
    """
    with KEPT.used():
        yield RegistryProcess(CONTENT, int((CONTENT / "port").read_text()))


def _start_kept_registry() -> None:
    if CONTENT.exists() and int(output("du", "-s", "--block-size=1", str(CONTENT)).split()[0]) > MOST_KEPT:
        shutil.rmtree(CONTENT)
    CONTENT.mkdir(exist_ok=True)
    known = CONTENT / "port"
    port = int(known.read_text()) if known.exists() else 0
    usable = port in SHARED and not _listens(port)
    served = RegistryProcess(CONTENT, port if usable else free_port(SHARED))
    known.write_text(str(served.port))
    (CONTENT / "config.yml").write_text(_registry_config(served, "", read_only=False))
    served.start(outlives=True)


def _end_kept_registry() -> None:
    _end_processes(CONTENT / "config.yml")


KEPT = SharedService(CACHE, "registry", _start_kept_registry, _end_kept_registry)


def _registry_config(served: RegistryProcess, users: str, *, read_only: bool) -> str:
    auth = f"auth:\n  htpasswd:\n    realm: tests\n    path: {served.folder}/htpasswd\n" if users else ""
    return f"""version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {served.folder}/content}}
  delete: {{enabled: true}}
  maintenance: {{readonly: {{enabled: {str(read_only).lower()}}}}}
http: {{addr: "{served.address}"}}
{auth}"""


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
