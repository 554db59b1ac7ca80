"""Building programs from a pinned Go module, and reading which version a program is."""

import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tasks.lib import console, go, process
from tasks.lib.console import spoken
from tasks.lib.errors import Failure, TimedOut

TIME_LIMIT = 24 * 3600.0
# A build that uses less than a second of the processor in so long is ended.  A busy machine may take an hour.
STANDSTILL = 10 * 60.0
REPORT_EVERY = 15.0
VERSION_VARIABLES = "k8s.io/component-base/version"


def argv(program: str, packages: Sequence[str], kubernetes: str) -> tuple[str, ...]:
    """The command that builds `packages`, with `kubernetes` (`v1.36.3`) as the API server's version."""
    major, minor, _ = kubernetes.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor}
    flags = ["-s", "-w", *(f"-X {VERSION_VARIABLES}.{name}={value}" for name, value in stamps.items())]
    return (program, "install", "-ldflags", " ".join(flags), *packages)


def binary_name(package: str) -> str:
    """What `go install` calls the program of a package: its last element that is no major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def build(module: Path, packages: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Path:
    """Build `packages` of the Go module in folder `module`; returns the folder that holds the programs.

    `variables` are Go's own, beside those that are always set.

    Raises:
        Failure: Go is missing or too old, or the build failed; the compiler's last lines are the reason.
        TimedOut: it made no progress for STANDSTILL, or took longer than TIME_LIMIT.

    """
    program = _go()
    match = re.search(r"^\s*(?:require )?k8s\.io/kubernetes (v\S+)", (module / "go.mod").read_text(), re.M)
    kubernetes = match[1] if match else "v0.0.0"
    console.say(_announcement(packages, kubernetes if match else ""))
    binaries = folder / "bin"
    # Flags that a person set for other Go work must not change what is built here.
    env = {"GOBIN": str(binaries), "GOFLAGS": "", "GOWORK": "off", "GO111MODULE": "on", **variables}
    stuck = threading.Event()
    try:
        with reporting("building"), _watched(program, stuck):
            process.run(argv(program, packages, kubernetes), time_limit=TIME_LIMIT, cwd=module, env=env)
    except TimedOut as error:
        what = "Building the control plane took too long and was ended."
        next_step = "Run the same command again: what was compiled is cached."
        raise TimedOut(what, error.why, next_step) from error
    except Failure as error:
        if stuck.is_set():
            raise _stood_still() from error
        next_step = "Check that the Go module proxy can be reached (`go env GOPROXY`), then run it again."
        raise Failure("The control plane could not be built.", error.why, next_step) from error
    return binaries


@contextmanager
def _watched(program: str, stuck: threading.Event) -> Iterator[None]:
    """While inside, kill the builds that run `program` once they stand still; set `stuck` then."""
    done = threading.Event()

    def watch() -> None:
        before = _processor_time(program)
        while not done.wait(STANDSTILL):
            now = _processor_time(program)
            if now - before < 1.0:
                stuck.set()
                for one in _builds(program):
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
            before = now

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _builds(program: str) -> list[psutil.Process]:
    """The children of this process that run `program`, with their compilers."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            found += [child, *child.children(recursive=True)] if program in child.cmdline() else []
    return found


def _processor_time(program: str) -> float:
    """The seconds that builds have used, those of compilers that have ended included."""
    used = 0.0
    for one in _builds(program):
        with suppress(psutil.NoSuchProcess):
            used += sum(one.cpu_times()[:4])
    return used


def _stood_still() -> TimedOut:
    return TimedOut(
        f"Building the control plane made no progress for {spoken(STANDSTILL)} and was ended.",
        "Neither the compiler nor the linker used the processor: it may have waited for the Go module proxy.",
        "Check that it can be reached (`go env GOPROXY`), then run it again: what was compiled is cached.",
    )


def _announcement(packages: Sequence[str], kubernetes: str) -> str:
    """What is said before a build that takes minutes."""
    programs = f"{len(packages)} programs" if len(packages) > 1 else binary_name(packages[0])
    of = f" of Kubernetes {kubernetes}" if kubernetes else ""
    return (
        f"Building {programs}{of} from Go source. "
        "On 2 cores this takes about 5 minutes, once: the result is cached."
    )


@contextmanager
def reporting(doing: str) -> Iterator[None]:
    """While inside, say now and then that this goes on."""
    done, began = threading.Event(), time.monotonic()

    def report() -> None:
        while not done.wait(REPORT_EVERY):
            console.say(f"  Still {doing} after {spoken(time.monotonic() - began)} …")

    threading.Thread(target=report, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def version_of(program: Path) -> str:
    """The version that a program gives itself, as `v1.2.3`; empty when it gives none."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(rb"v?(\d+\.\d+\.\d+\S*)", done.stdout)
    return f"v{match[1].decode()}" if match else ""


def _go() -> str:
    """The path of `go`."""
    try:
        found = go.command()
        go.version(found)
    except Failure as error:
        why = (
            error.why
            or "No official release could be downloaded, and Go, which builds it from source, is not on PATH."
        )
        raise Failure("The sandbox's control plane cannot be installed.", why, error.next_step) from error
    return found
