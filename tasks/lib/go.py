"""The Go command, which builds the sandbox's control plane where official binaries cannot be downloaded."""

import re
import shutil
from pathlib import Path

from tasks.lib import process
from tasks.lib.errors import Failure

OLDEST = (1, 21)  # the first that downloads the version which go.mod names
USUAL = Path("/usr/local/go/bin/go")
SECONDS = 30
INSTALL = (
    "Install Go from https://go.dev/dl (unpack it to /usr/local/go and put /usr/local/go/bin on PATH), "
    "then run the same command again."
)


def command() -> str:
    """The path of `go`; a Failure where it is not installed."""
    found = shutil.which("go") or (str(USUAL) if USUAL.exists() else "")
    if not found:
        raise Failure("Go is not on PATH.", "", INSTALL)
    return found


def version(go: str) -> str:
    """What `go version` prints; a Failure where it does not run, or is too old."""
    text = process.run((go, "version"), time_limit=SECONDS).stdout.decode(errors="replace").strip()
    match = re.search(r"go(\d+)\.(\d+)", text)
    if match and (int(match[1]), int(match[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise Failure("Go is too old.", f"{go} is {text}; {oldest} or newer is needed.", INSTALL)
    return text
