"""How soon a deploy says what is wrong, from the moment the API shows it: the goal is under 2 seconds.

The API is asked every 20 ms by this process, the deploy's lines are read as they come.  Every round is a
deploy of Lookit's own 32 objects of which one goes wrong.
"""

import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import machine
from tests.heard import until
from tests.sandbox_case import Case, Sandbox, make_case, running

ROUNDS = 5
GOAL = 2.0
PAUSE = 0.02
DEPLOY = ("deploy", "--branch", "develop", "--commit", "d" * 40, "--no-rollback")
Thing = Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Args:
        name: in the table.
        make: brings it about in a test's corner of the sandbox.
        plural: the path of the kind that shows it, below the namespace.
        shows: whether an object of that kind shows it.
        said: what the deploy then says.

    """

    name: str
    make: Callable[[Case], None]
    plural: str
    shows: Callable[[Thing], bool]
    said: str


def _behaving(behaviour: str) -> Callable[[Case], None]:
    return lambda case: case.behave("Deployment", "web", behaviour)


def _use_quota_up(case: Case) -> None:
    metadata, spec = {"name": "few"}, {"hard": {"pods": "0"}}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}
    case.api.create(f"{case.path}/resourcequotas", body)


def _cannot_make_pods(replica_set: Thing) -> bool:
    conditions = replica_set["status"].get("conditions") or []
    return any(one["type"] == "ReplicaFailure" and "exceeded quota" in one["message"] for one in conditions)


def _waiting(reason: str) -> Callable[[Thing], bool]:
    def shows(pod: Thing) -> bool:
        statuses = pod["status"].get("containerStatuses") or []
        return any((one["state"].get("waiting") or {}).get("reason") == reason for one in statuses)

    return shows


PODS = "api/v1/{}/pods"
CRASHING, MISSING = "CrashLoopBackOff", "CreateContainerConfigError"
FAULTS = (
    Fault("quota used up", _use_quota_up, "apis/apps/v1/{}/replicasets", _cannot_make_pods, "FailedCreate"),
    Fault("crash loop", _behaving("crash-loop"), PODS, _waiting(CRASHING), CRASHING),
    Fault("settings missing", _behaving("create-config-error"), PODS, _waiting(MISSING), MISSING),
)


def main() -> None:
    """Measure in a sandbox of its own."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder, "state")) as sandbox:
        measure(sandbox, Path(folder), FAULTS, ROUNDS)


def measure(sandbox: Sandbox, folder: Path, faults: Sequence[Fault], rounds: int) -> None:
    """Measure and print."""
    sys.stdout.write(f"{machine()}, {rounds} rounds\n\n### From the API to the deploy's words\n\n")
    sys.stdout.write("| what goes wrong | median | longest | under 2 s |\n|-|-|-|-|\n")
    for fault in faults:
        taken = list(_rounds(sandbox, folder, fault, rounds))
        kept = "yes" if max(taken) < GOAL else "NO"
        row = f"| {fault.name} | {statistics.median(taken):.2f} s | {max(taken):.2f} s | {kept} |\n"
        sys.stdout.write(row)
        sys.stdout.flush()


def _rounds(sandbox: Sandbox, folder: Path, fault: Fault, rounds: int) -> Iterator[float]:
    for number in range(rounds):
        name = f"{fault.name.replace(' ', '-')}-{number}"
        (folder / name).mkdir()
        yield _seconds(make_case(sandbox, folder / name, name), fault)


def _seconds(case: Case, fault: Fault) -> float:
    """How long after the API shows it the deploy says it."""
    fault.make(case)
    path = "/" + fault.plural.format(f"namespaces/{case.name}")
    with case.started(*DEPLOY) as heard:
        shown: float = until(lambda: _first(case, path, fault), pause=PAUSE)
        seconds = max(heard.moment_of(fault.said) - shown, 0.0)
        heard.send(signal.SIGTERM)
        heard.end()
    return seconds


def _first(case: Case, path: str, fault: Fault) -> float | None:
    """This moment, if an object shows the fault now."""
    items = (case.api.get(path) or {"items": []})["items"]
    return time.monotonic() if any(fault.shows(one) for one in items) else None


if __name__ == "__main__":
    main()
