"""Building the control plane's programs from the pinned Go module, and reading which version a program is."""

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tasks.lib import console, signals
from tasks.lib.doctor.machine import OLDEST_GO
from tasks.lib.duration import spoken
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.process import last_lines

USUAL_GO = Path("/usr/local/go/bin/go")
TIME_LIMIT = 45 * 60.0
REPORT_EVERY = 15.0
VERSION_VARIABLES = "k8s.io/component-base/version"
GO_MISSING = (
    "Install Go from https://go.dev/dl (unpack it to /usr/local/go and put /usr/local/go/bin on PATH), "
    "then run the same command again."
)


def argv(go: str, packages: Sequence[str], kubernetes: str) -> tuple[str, ...]:
    """The command that builds `packages`; `kubernetes` (`v1.36.3`) is what the API server shall call
    itself.
    """
    major, minor, _ = kubernetes.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(
        ["-s", "-w", *(f"-X {VERSION_VARIABLES}.{name}={value}" for name, value in stamps.items())]
    )
    return (go, "install", "-v", "-ldflags", flags, *packages)


def binary_name(package: str) -> str:
    """What `go install` calls the program of a package: its last element that is no major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def build(module: Path, packages: Sequence[str], folder: Path) -> Path:
    """Build `packages` of the Go module in folder `module`, saying how far it is.

    Returns:
        The folder that holds the programs.

    Raises:
        Failure: Go is missing or too old, or the build failed; the compiler's last words are the reason.
        TimedOut: it took longer than TIME_LIMIT.

    """
    go = _go()
    match = re.search(
        r"^\s*(?:require )?k8s\.io/kubernetes (v\S+)", (module / "go.mod").read_text(), re.MULTILINE
    )
    kubernetes = match[1] if match else "v0.0.0"
    console.say(
        f"Building {len(packages)} programs of Kubernetes {kubernetes} from Go source. "
        "On 2 cores this takes about 5 minutes, once: the result is cached."
    )
    binaries = folder / "bin"
    # Whatever flags a person set for other Go work must not change what is built here.
    env = {**os.environ, "GOBIN": str(binaries), "GOFLAGS": "", "GOWORK": "off", "GO111MODULE": "on"}
    command = argv(go, packages, kubernetes)
    with subprocess.Popen(
        command, cwd=module, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        try:
            output = _follow(child)
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise Failure(
            "The control plane could not be built.",
            last_lines(output),
            "Check that the Go module proxy can be reached (`go env GOPROXY`), then run the command again.",
        )
    return binaries


def version_of(program: Path) -> str:
    """The version that a program gives itself, as `v1.2.3`; empty when it gives none."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(rb"v?(\d+\.\d+\.\d+\S*)", done.stdout)
    return f"v{match[1].decode()}" if match else ""


def _go() -> str:
    """The go command.

    Raises:
        Failure: there is none, or it is too old to fetch the release that the module asks for.

    """
    go = shutil.which("go") or (str(USUAL_GO) if USUAL_GO.exists() else "")
    if not go:
        raise Failure(
            "The sandbox's control plane cannot be installed.",
            "No official release could be downloaded, and Go, which builds it from source, is not on PATH.",
            GO_MISSING,
        )
    text = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30, check=False).stdout
    match = re.search(r"go(\d+)\.(\d+)", text)
    if match and (int(match[1]), int(match[2])) < OLDEST_GO:
        oldest = ".".join(str(part) for part in OLDEST_GO)
        why = f"{go} is {text.strip()}; {oldest} or newer is needed."
        raise Failure("The sandbox's control plane cannot be built.", why, GO_MISSING)
    return go


class Progress:
    """Counts what the go command reports, and words it."""

    def __init__(self, now: float) -> None:
        self.began = now
        self.downloaded = 0
        self.compiled = 0
        self.latest = ""

    def note(self, line: str) -> None:
        """Take in one line of `go install -v`."""
        if line.startswith("go: downloading "):
            self.downloaded += 1
            self.latest = line.removeprefix("go: downloading ").strip()
        elif line.strip() and not line.startswith(("go: ", "#", "\t")):
            self.compiled += 1
            self.latest = line.strip()

    def told(self, now: float) -> str:
        """One line that says how far it is."""
        done = f"{self.downloaded} modules downloaded, {self.compiled} packages compiled"
        return f"  {spoken(now - self.began)}: {done} (now {self.latest or 'reading the build cache'})"


def _follow(child: "subprocess.Popen[bytes]") -> bytes:
    """Read the build's output to its end, reporting now and then."""
    stream: IO[bytes] = child.stderr  # type: ignore[assignment]
    os.set_blocking(stream.fileno(), False)
    progress = Progress(time.monotonic())
    told, output, rest = progress.began, b"", b""
    while True:
        signals.check()
        ready, _, _ = select.select([stream], [], [], 1.0)
        now = time.monotonic()
        if ready:
            data = stream.read()
            if not data:
                return output
            output = (output + data)[-64 * 1024 :]
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                progress.note(line.decode(errors="replace"))
        if now - told >= REPORT_EVERY:
            console.say(progress.told(now))
            told = now
        if now - progress.began > TIME_LIMIT:
            raise TimedOut("Building the control plane took too long and was ended.", progress.told(now),
                           "Run the same command again: what was compiled is cached.")  # fmt: skip
