"""The sample application as a git checkout that a test may change."""

import functools
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.program import Ended, inv_with_programs

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "tests" / "data" / "lookit-sample"
WHEN = "2024-05-06T07:08:09+00:00"
AUTHOR = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_AUTHOR_DATE": WHEN,
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_COMMITTER_DATE": WHEN,
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A checkout of the sample on branch develop."""

    folder: Path
    image: str = "lookit"  # the last part of its image's name, on which its test image is based

    @property
    def head(self) -> str:
        return self._git("rev-parse", "HEAD")

    def commit(self, **files: str) -> str:
        """Write files (`__` for `/`, `_DOT_` for `.`), commit, and return the commit."""
        for name, text in files.items():
            path = self.folder / name.replace("__", "/").replace("_DOT_", ".")
            path.write_text(text)
        self._git("add", "-A")
        self._git("commit", "--quiet", "--allow-empty", "-m", f"change {sorted(files)}")
        return self.head

    def _git(self, *argv: str) -> str:
        done = subprocess.run(
            ("git", "-C", str(self.folder), *argv), env={**os.environ, **AUTHOR},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()


def sample(folder: Path) -> Sample:
    """A fresh checkout of the sample in `folder`."""
    shutil.copytree(Path(_made_once().name, "sample"), folder)
    return Sample(folder)


@functools.cache
def _made_once() -> "tempfile.TemporaryDirectory[str]":
    """The folder of a checkout to copy, which lasts as long as this process: git takes longer than a copy."""
    made = tempfile.TemporaryDirectory()
    folder = Path(made.name, "sample")
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    committed(folder)
    return made


def committed(folder: Path) -> Sample:
    """A folder as a checkout on branch develop, with all its files in one commit."""
    subprocess.run(("git", "init", "--quiet", "-b", "develop", str(folder)), check=True)
    made = Sample(folder)
    made.commit()
    return made


def sample_apart(folder: Path) -> Sample:
    """A checkout for a test that builds images: no other test in the same engine has its commit and image's name."""
    made = replace(sample(folder), image=f"lookit-{uuid.uuid4().hex[:8]}")
    dockerfile = (folder / "Dockerfile.dev").read_text()
    assert dockerfile.startswith("FROM lookit\n")
    made.commit(Dockerfile_DOT_dev=dockerfile.replace("FROM lookit\n", f"FROM {made.image}\n"))
    return made


@dataclass(frozen=True)
class Ran:
    """How a task ended, what it printed, and the process that it was: what it made bears that number."""

    returncode: int
    stdout: str
    stderr: str
    pid: int


def invoke(*argv: str, **env: str) -> Ended:
    """Run `./inv ARGV` with `env` on top of this process's variables, in this process."""
    return inv_with_programs(argv, {**os.environ, **env})


def ran(argv: Sequence[str], env: Mapping[str, str], seconds: float = 280) -> Ran:
    """Run a task's process to its end, with `env` on top of this process's variables."""
    with subprocess.Popen(
        argv, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        finally:
            process.kill()
        return Ran(process.returncode, stdout, stderr, process.pid)
