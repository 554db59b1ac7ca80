"""Deploying: the engine against `kubectl apply --server-side` and `kubectl rollout status`.

Both get the same stream of rendered objects, in turns, each in a namespace of its own.  The engine's figure
is a whole process, from the start of Python to the last workload that is ready, with the cluster asked for at
GKE, permissions, dry run and drift checked; kubectl starts with its discovery cache warm.
"""

import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import in_turns, machine, markdown
from tasks.lib.build_variables import BuildVariables
from tasks.lib.render.rendering import render
from tasks.lib.sandbox import overlay
from tasks.lib.secrets.decryption import decrypt_all
from tests.builders import ROOT
from tests.sandbox_case import Case, make_case, merged, running

ROUNDS = 5
MANY = 1000
VARIABLES = BuildVariables(
    commit_sha="a" * 40, branch_name="develop", tag_name="1.0", repo_name="lookit-api", build_id="bench"
)
ENGINE = """
import json, resource, sys
from pathlib import Path
from tasks.lib.cluster.connection import connect
from tasks.lib.deploy.engine import Choices, Course, plan
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.progress import Record
from tasks.lib.render.documents import split
from tests.builders import settings_in
settings = settings_in(Path(sys.argv[1]), json.loads(sys.argv[2]))
environment = settings.environment("staging")
connection = connect(settings, environment)
contents = [document.content for document in split(Path(sys.argv[3]).read_text())]
objects = wanted(contents, connection.kinds, environment.namespace)
planned = plan(settings, environment, connection, objects, Choices())
Course(settings, environment, connection, Record("staging"), lambda event: None).run(planned)
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
"""


def main() -> None:
    """Measure and print."""
    sys.stdout.write(f"{machine()}\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(folder / "state") as sandbox:
            for side in ("engine", "kubectl"):
                (folder / side).mkdir()
            engine, kubectl = (
                Side(make_case(sandbox, folder / side, side)) for side in ("engine", "kubectl")
            )
            for objects, title in ((0, "Lookit's 32 objects"), (MANY, f"with {MANY} ConfigMaps more")):
                for change in ("nothing", "one object", "all objects"):
                    sys.stdout.write(
                        _compared(engine, kubectl, objects, change, f"{title}, {change} changed")
                    )
                    sys.stdout.flush()


class Side:
    """One of the two competitors: a namespace and the stream that goes there."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.stream = case.folder / "stream.yaml"
        self.memory = 0
        secrets = decrypt_all(case.settings, case.environment)
        rendered = render(case.settings, case.environment, VARIABLES, secrets)
        self._objects: list[Any] = [document.content for document in rendered.documents]

    def write(self, more: int, change: str, turn: int) -> None:
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
        for number in range(more):
            touched = change == "all objects" or (change == "one object" and number == 0)
            data = {"key": "x" * 200, "turn": str(turn if touched else 0)}
            metadata = {"name": f"bench-{number}", "namespace": self.case.name}
            objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        self.stream.write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))

    def engine(self) -> None:
        """Deploy with the engine."""
        sandbox = overlay.values(self.case.sandbox.state, ["staging", "production"])
        values = json.dumps(merged(self.case.values, sandbox))
        argv = [sys.executable, "-c", ENGINE, str(ROOT), values, str(self.stream)]
        done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
        self.memory = max(self.memory, int(done.stdout))

    def kubectl(self) -> None:
        """Deploy with kubectl."""
        self.case.kubectl("apply", "--server-side", "-f", str(self.stream))
        for workload in self._objects:
            if workload["kind"] in {"Deployment", "StatefulSet"}:
                self.case.kubectl("rollout", "status", f"{workload['kind']}/{workload['metadata']['name']}")


def _compared(engine: Side, kubectl: Side, more: int, change: str, title: str) -> str:
    turns = iter(range(10**6))

    def run(side: Side, deploy: Callable[[], None]) -> Callable[[], None]:
        def once() -> None:
            side.write(more, change, next(turns))
            deploy()

        return once

    for side in (engine, kubectl):
        side.write(more, "nothing", 0)
    engine.engine()
    kubectl.kubectl()
    alternatives = {
        "kubectl apply + rollout status": run(kubectl, kubectl.kubectl),
        "engine": run(engine, engine.engine),
    }
    timings = in_turns(alternatives, ROUNDS)
    return markdown(title, timings) + f"The engine's peak memory: {engine.memory} MB.\n\n"


if __name__ == "__main__":
    main()
