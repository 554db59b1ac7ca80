"""Deploying: the engine against `kubectl apply --server-side` and `kubectl rollout status`.

Both get the same stream of rendered objects, in turns, each in a namespace of its own.  The engine's figure
is a whole process, from the start of Python to the last workload that is ready, with the cluster asked for at
GKE, the lock, permissions, dry run, drift and history; kubectl starts with its discovery cache warm.  Streams
are written outside the time.  `delay` makes the API server's answers late, like those of a remote cluster.

    python benchmarks/bench_deploy.py --rounds 5
"""

import argparse
import copy
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import Timing, in_turns, machine, markdown, processor_time
from benchmarks.slow_line import slow_line
from sandbox import overlay, watching
from tasks.lib.build_variables import BuildVariables
from tasks.lib.render.rendering import render
from tasks.lib.secrets.crypt import decrypt_all
from tests.builders import ROOT
from tests.sandbox_case import Case, Sandbox, make_case, merged, running

CHANGES = ("nothing", "one object", "all objects")
KUBECTL, ENGINE = "kubectl apply + rollout status", "engine"
MEMORY_GOAL = 200
# How long the engine may take, as a ratio to kubectl.
GOALS = {"nothing": 0.8, "one object": 1.0, "all objects": 1.1}
VARIABLES = BuildVariables(
    commit_sha="a" * 40, branch_name="develop", tag_name="1.0", repo_name="lookit-api", build_id="bench"
)


class Side:
    """One of the two competitors: a namespace and the stream that goes there."""

    def __init__(self, case: Case, server: str) -> None:
        self.case, self.server = case, server
        self.stream = case.folder / "stream.yaml"
        secrets = decrypt_all(case.settings, case.environment)
        rendered = render(case.settings, case.environment, VARIABLES, secrets)
        self._objects: list[Any] = [document.content for document in rendered.documents]

    def write(self, change: str, turn: int) -> None:
        """Write the stream of this turn."""
        objects = copy.deepcopy(self._objects)
        for thing in objects:
            if thing["kind"] not in {"Deployment", "StatefulSet"}:
                continue
            touched = change == "all objects" or (
                change == "one object" and thing["metadata"]["name"].endswith("-web")
            )
            turned = {"bench/turn": str(turn)} if touched else {}
            thing["spec"]["template"]["metadata"].setdefault("annotations", {}).update(turned)
        self.stream.write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))

    def engine(self) -> int:
        """Deploy with the engine; returns its peak memory in MB."""
        sandbox = overlay.values(self.case.sandbox.state, ["staging", "production"])
        values = json.dumps(merged(self.case.values, sandbox))
        argv = [sys.executable, "-m", "benchmarks.deploy_once", str(ROOT), values, str(self.stream)]
        done = subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return int(done.stdout)

    def kubectl(self) -> None:
        """Deploy with kubectl."""
        program = str(Path(sys.executable).with_name("kubectl"))
        kubeconfig = self.case.sandbox.state.cluster("lookit-staging") / "admin.kubeconfig"
        base = [
            program,
            f"--kubeconfig={kubeconfig}",
            f"--server={self.server}",
            f"--namespace={self.case.name}",
        ]
        commands = [["apply", "--server-side", "-f", str(self.stream)]]
        commands += [
            ["rollout", "status", f"{workload['kind']}/{workload['metadata']['name']}"]
            for workload in self._objects
            if workload["kind"] in {"Deployment", "StatefulSet"}
        ]
        for command in commands:
            subprocess.run([*base, *command], check=True, capture_output=True, timeout=1800)


@dataclass
class Figures:
    """What one case took: wall time, processor time of each side and of the cluster, the engine's memory."""

    change: str
    timings: list[Timing] = field(default_factory=list)
    processor: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cluster: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory: int = 0

    def of(self, name: str) -> float | None:
        """The median seconds of one side."""
        return next((timing.median for timing in self.timings if timing.name == name), None)

    def told(self) -> str:
        """As Markdown."""
        title = f"Lookit's objects, {self.change} changed"
        spent = ", ".join(
            f"{name} {statistics.median(seconds[1:]):.2f} s and the cluster "
            f"{statistics.median(self.cluster[name][1:]):.2f} s for it"
            for name, seconds in self.processor.items()
        )
        load = os.getloadavg()[0]
        return (
            f"{markdown(title, self.timings)}\nProcessor time, median: {spent}. "
            f"The engine's peak memory: {self.memory} MB. Load at the end: {load:.1f}.\n\n"
        )


def main() -> None:
    """Measure in a sandbox of its own."""
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder, "state")) as sandbox:
        measure(sandbox, Path(folder), asked)


def measure(sandbox: Sandbox, folder: Path, asked: argparse.Namespace) -> None:
    """Measure and print."""
    sys.stdout.write(f"{machine()}, {asked.rounds} rounds, answers {asked.delay} ms late\n\n")
    found: list[Figures] = []
    with ExitStack() as stack:
        sides = _sides(stack, sandbox, folder, asked.delay / 1000)
        for change in asked.changes:
            figures = _measured(sides, change, asked.rounds)
            found.append(figures)
            sys.stdout.write(figures.told())
            sys.stdout.flush()
    sys.stdout.write("### Goals\n\n" + "\n".join(f"- {line}" for line in verdicts(found)) + "\n")


def _sides(stack: ExitStack, sandbox: Sandbox, folder: Path, delay: float) -> dict[str, Side]:
    """Both competitors, over a line of their own if there is a delay."""
    port = sandbox.component("lookit-staging.apiserver").port
    line = stack.enter_context(slow_line(port, delay)) if delay else None
    sides = {}
    for name in ("engine", "kubectl"):
        (folder / name).mkdir()
        case = make_case(sandbox, folder / name, name)
        if line:
            case = stack.enter_context(case.behind(line))
        sides[name] = Side(case, f"https://{line.endpoint if line else f'127.0.0.1:{port}'}")
    return sides


def verdicts(found: Sequence[Figures]) -> list[str]:
    """What the goals say of each case."""
    lines = []
    for one in found:
        ours, theirs = one.of(ENGINE), one.of(KUBECTL)
        if ours and theirs:
            ratio, goal = ours / theirs, GOALS[one.change]
            lines.append(f"{_met(ratio <= goal)} {one.change} changed: {ratio:.2f} of kubectl, goal {goal:g}")
    memory = max(one.memory for one in found)
    return [*lines, f"{_met(memory < MEMORY_GOAL)} peak memory {memory} MB, goal under {MEMORY_GOAL}"]


def _met(yes: bool) -> str:
    return "met:" if yes else "MISSED:"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES))
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--delay", type=int, default=0, help="milliseconds by which answers are late")
    return made


def _measured(sides: dict[str, Side], change: str, rounds: int) -> Figures:
    """Both sides deploy the unchanged stream first, and then in turns."""
    figures, turn = Figures(change), iter(range(1, 10**6))

    def engine() -> None:
        figures.memory = max(figures.memory, sides["engine"].engine())

    alternatives = {KUBECTL: sides["kubectl"].kubectl, ENGINE: engine}
    owners = {KUBECTL: sides["kubectl"], ENGINE: sides["engine"]}

    def prepare(name: str) -> None:
        owners[name].write(change, next(turn))

    for name, run in alternatives.items():
        owners[name].write("nothing", 0)
        run()
    servers = [one.pid for one in watching.status(owners[ENGINE].case.sandbox.state) if one.pid]
    timed = {name: _with_processor_time(name, run, figures, servers) for name, run in alternatives.items()}
    figures.timings = in_turns(timed, rounds, prepare)
    return figures


def _with_processor_time(name: str, run: Any, figures: Figures, servers: Sequence[int]) -> Any:
    def once() -> None:
        before, served = resource.getrusage(resource.RUSAGE_CHILDREN), processor_time(servers)
        run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        figures.processor[name].append(spent)
        figures.cluster[name].append(processor_time(servers) - served)

    return once


if __name__ == "__main__":
    main()
