"""A program called docker before an engine that takes its time: it goes on making what a client asked for."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

SECONDS = 240
# What is made lies in `made`; a client waits for it, and one that runs a container in the foreground for its end.
PROGRAM = """#!/bin/sh
cd "$(dirname "$0")" || exit 9
until_there() { while test ! -e "$1"; do sleep 0.05; done; }
until_gone() { while test -e "$1"; do sleep 0.05; done; }
removed() { rm "made/$1" 2>/dev/null || { echo "Error: No such thing: $1" >&2; exit 1; }; }
for last; do :; done
echo "$*" >>log
case "$*" in
*'{{.Server.Version}}'*) echo '28.0.0 28.0.0';;
*'{{json .Config.Labels}}'*) echo null;;
'network create'*) name=$last;;
'run '*) name=$(echo "$*" | sed 's/.*--name \\([^ ]*\\) .*/\\1/');;
'create '*) name=$3;;
'stop '* | 'rm '* | 'network rm'*) removed "$last";;
'ps '*'{{.Names}}') ls made;;
esac
test -n "$name" || exit 0
case "$*" in
*"$(cat slow)"*) setsid sh -c 'while test ! -e go; do sleep 0.05; done; touch "made/$1"; touch done' - "$name" &
    touch asked
    until_there done;;
*) touch "made/$name";;
esac
case "$*" in 'run --rm'*) until_gone "made/$name";; esac
"""


@dataclass(frozen=True)
class SlowEngine:
    """The program, in a folder of its own that goes first on PATH.

    Args:
        folder: that folder.
        slow: in the command that takes its time.

    """

    folder: Path
    slow: str

    def __post_init__(self) -> None:
        (self.folder / "made").mkdir(parents=True)
        (self.folder / "slow").write_text(self.slow)
        program = self.folder / "docker"
        program.write_text(PROGRAM)
        program.chmod(0o755)

    @property
    def path(self) -> str:
        """The variable PATH with it."""
        return f"{self.folder}:{os.environ['PATH']}"

    @property
    def made(self) -> set[str]:
        """The names of what is there."""
        return {thing.name for thing in (self.folder / "made").iterdir()}

    def wait_until_asked(self) -> None:
        """Until a client has asked for what takes its time."""
        self._wait_for("asked")

    def finish(self) -> None:
        """Make what was asked for, whoever still waits for it."""
        (self.folder / "go").touch()
        self._wait_for("done")

    def _wait_for(self, mark: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not (self.folder / mark).exists():
            assert time.monotonic() < deadline, f"no {mark}: {(self.folder / 'log').read_text()}"
            time.sleep(0.01)
