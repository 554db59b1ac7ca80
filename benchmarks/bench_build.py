"""What `./inv build` and `push` cost over the docker commands that they run."""

import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from benchmarks.measure import in_turns, machine, markdown
from tests import docker_services

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7
MOST_SECONDS = 0.6
GIT = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org")


def main(rounds: int = ROUNDS) -> None:
    """Print the tables; say why where there is nothing to measure with."""
    try:
        with (
            docker_services.engine(),
            tempfile.TemporaryDirectory() as folder,
            docker_services.registry(Path(folder)) as registry,
        ):
            (Path(folder) / "source").mkdir()
            measure(Path(folder) / "source", f"{registry.address}/bench/lookit", rounds)
    except pytest.skip.Exception as reason:
        write(f"### Building and pushing\n\nNot measured: {reason}\n")


def measure(source: Path, repository: str, rounds: int) -> None:
    """Build and push the same unchanged image both ways."""
    (source / "Dockerfile").write_text("FROM scratch\nCOPY content /\n")
    (source / "content").write_text("x" * 1000)
    for argv in (("init", "-q", "-b", "develop"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        subprocess.run((*GIT, "-C", str(source), *argv), check=True)
    plain = f"{repository}:plain"
    build = ("docker", "build", "--quiet", "--tag", plain, str(source))
    push = ("docker", "push", "--quiet", plain)
    record = ("--record", str(source.with_suffix(".json")))
    env = {"INVOKE_IMAGE_REPOSITORY": repository}
    write(machine() + "\n")
    for name, ours, theirs in (("build", (), build), ("push", record, push)):
        task = (sys.executable, "-m", "tasks", name, "--source", str(source), *ours)
        compare(name, theirs, partial(run, task, env), rounds)


def compare(name: str, theirs: tuple[str, ...], ours: partial[None], rounds: int) -> None:
    """Time docker and the task in turns; processor time too, which a busy machine stretches less."""
    used: dict[str, list[float]] = defaultdict(list)

    def measured(which: str, act: partial[None]) -> None:
        before = processor_seconds()
        act()
        used[which].append(processor_seconds() - before)

    plain, task = f"docker {name}", f"./inv {name}"
    timings = in_turns(
        {plain: partial(measured, plain, partial(run, theirs)), task: partial(measured, task, ours)}, rounds
    )
    write(markdown(f"{name}, unchanged", timings))
    overhead = timings[1].median - timings[0].median
    verdict = "within" if overhead <= MOST_SECONDS else "ABOVE"
    work = median(used[task]) - median(used[plain])
    write(
        f"Overhead {overhead:.2f} s, {verdict} the {MOST_SECONDS} s that are allowed; "
        f"{work:.2f} s of processor time at load {os.getloadavg()[0]:.1f}.\n"
    )


def processor_seconds() -> float:
    """What the programs that were run so far took of the processors, apart from Docker's engine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(argv: tuple[str, ...], env: dict[str, str] | None = None) -> None:
    """Run one alternative, quietly."""
    subprocess.run(argv, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, check=True)


def write(text: str) -> None:
    """Print for docs/benchmarks.md."""
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
