"""A canary in the secrets of a whole deploy: after every task that meets the cluster, and after every failure, it is
found nowhere but in the Secret.

Looked at are both streams, all processes, temporary folders, shared memory, the program's checkout, plans and reports
as JSON and as pages, evidence, the sandbox's logs, and every object of the namespace, the kept releases unpacked.

A new task of that kind is one more row; tests/test_leaks.py has those that need no cluster, and the guard that none
is forgotten.
"""

import base64
import gzip
import json
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sandbox.node.api import Api
from tasks.lib.redaction import Secret
from tests.canary import audited, noting_starts, outputs, started_with, unique, watched_processes
from tests.deployed import workload
from tests.own_key import OwnKey
from tests.sandbox_case import CASE, Case, Sandbox, rewrite

CANARY = unique("e2e-Zq8")
SECRET = "lookit-secrets"
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080}]},
}  # fmt: skip
pytestmark = pytest.mark.e2e


def all_of_lookit(_corner: OwnKey) -> None:
    """The tree as it is."""


def web_alone(corner: OwnKey, behaviour: str = "", ready_after: str = "0s", **spec: Any) -> None:
    """The Secrets, and one workload that reads the one with the canary: what is looked for needs no more of them."""
    web = workload("web", behaviour, **spec)
    pod = web["spec"]["template"]
    pod["metadata"]["annotations"]["sandbox.lookit.org/ready-after"] = ready_after
    container = {"image": "gcr.io/mit-lookit/lookit:1", "envFrom": [{"secretRef": {"name": SECRET}}]}
    pod["spec"]["containers"][0].update(container)
    corner.hold_only(web, SERVICE)
    rewrite(corner.tree / "overlays" / CASE / "kustomization.yaml", resources=["things.yaml", "secrets"])


def changed(corner: OwnKey) -> None:
    seal(corner, f"{CANARY.value}-changed")


def crashing(corner: OwnKey) -> None:
    web_alone(corner, "crash-loop")


def never_ready(corner: OwnKey) -> None:
    web_alone(corner, ready_after="3000s")


def refused_by_kubernetes(corner: OwnKey) -> None:
    web_alone(corner, replicas=-1)


def revoked(corner: OwnKey) -> None:
    web_alone(corner)  # else it is refused for another reason
    corner.administer().update_crypto_key_version(
        crypto_key_version={"name": f"{corner.key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )


@dataclass(frozen=True)
class Step:
    """A task, what happens before it, and how it ends (None: as it likes).

    `keeps` is a file for its stdout; a `signal` is sent while it waits for a rollout.  One that is `apart`, or gets a
    signal, runs in a process of its own.
    """

    words: str
    code: int | None = 0
    before: Callable[[OwnKey], None] | None = None
    keeps: str = ""
    signal: int = 0
    apart: bool = False


# For each test what is deployed, and its tasks, one after another in one corner; {name} is its environment and
# branch, {folder} a folder for what tasks write.
STEPS: dict[str, tuple[Callable[[OwnKey], None], list[Step]]] = {
    "a whole deploy": (all_of_lookit, [
        Step("plan --branch {name} --html {folder}/first.html --json"),
        Step("deploy --branch {name} --report {folder}/report", apart=True),
        Step("plan --branch {name} --html {folder}/second.html", before=changed),
        Step("plan --branch {name} --json --exit-code", code=3, keeps="plan.json"),
        Step("deploy --branch {name} --plan-file {folder}/plan.json --report {folder}/planned"),
    ]),
    "a deploy that fails": (web_alone, [
        Step("deploy --branch {name}"),
        Step("deploy --branch {name} --evidence {folder}/evidence --report {folder}/failed", code=1, before=crashing),
        Step("deploy --branch {name} --no-rollback --evidence {folder}/evidence", code=1),
        Step("release.list --environment {name} --json"),
        Step("release.show --environment {name} --json"),
        Step("release.diff --environment {name} --json"),
        Step("release.status --environment {name} --json"),
        Step("release.rollback --environment {name}", before=web_alone),
    ]),
    "between deploys": (web_alone, [
        Step("deploy --branch {name}"),
        Step("doctor --environment {name}", code=None),
        Step("status --environment {name} --html {folder}/status.html --json"),
        Step("app.logs --environment {name}"),
        Step("app.run --environment {name} -- true"),
        Step("app.runs --environment {name} --json"),
        Step("app.exec web --environment {name} -- true", code=1),  # simulated pods run nothing
        Step("app.shell --environment {name}", code=1),
        Step("app.restart --environment {name}"),
        Step("app.maintenance --environment {name} --on"),
        Step("app.maintenance --environment {name}"),
        Step("app.maintenance --environment {name} --off"),
    ]),
    "a deploy that is ended": (web_alone, [
        Step("deploy --branch {name}"),
        Step("deploy --branch {name} --report {folder}/stopped", code=143, before=never_ready, signal=signal.SIGTERM),
        Step("deploy --branch {name}", code=-9, signal=signal.SIGKILL),
        Step("release.list --environment {name} --json"),
        Step("deploy --branch {name}", before=web_alone),
    ]),
    "a deploy that is refused": (web_alone, [
        Step("deploy --branch {name}", code=1, before=refused_by_kubernetes),
        Step("plan --branch {name}", code=1, before=revoked),
        Step("deploy --branch {name}", code=1),
    ]),
}  # fmt: skip
REPORT = ("deploy.json", "deploy.html")
# What they write there: it was looked at.
WRITTEN = {
    "a whole deploy": {"first.html", "second.html", "plan.json",
                       *(f"{folder}/{page}" for folder in ("report", "planned") for page in REPORT)},
    "a deploy that fails": {"evidence", *(f"failed/{page}" for page in REPORT)},
    "between deploys": {"status.html"},
    "a deploy that is ended": {f"stopped/{page}" for page in REPORT},
    "a deploy that is refused": set(),
}  # fmt: skip


def seal(corner: OwnKey, value: str) -> None:
    expected = corner.tree / "overlays" / "staging" / "secrets" / f"{SECRET}.env.expected"
    keys = [line for line in expected.read_text().splitlines() if line and not line.startswith("#")]
    corner.seal(**{f"{SECRET}.env": Secret("".join(f"{key}{value}\n" for key in keys).encode())})


@dataclass(frozen=True)
class Run:
    """Where tasks run: a corner, the folder for what they write, their variables, and the list of what they start."""

    corner: OwnKey
    written: Path
    variables: Mapping[str, str]
    started: Path
    capture: pytest.CaptureFixture[str]

    def finished(self, step: Step) -> tuple[int, str, str]:
        """Run a step to its end, or to the signal that it is meant to get: exit code and both streams."""
        words = step.words.format(name=self.corner.name, folder=self.written).split()
        if step.signal:
            return self._ended(step.signal, words)
        if step.apart:
            apart = self.corner.invoke_apart(*words, **self.variables, **audited(self.started))
            return apart.returncode, apart.stdout, apart.stderr
        with noting_starts(self.started):
            done = self.corner.invoke(*words, **self.variables)
        by_others = self.capture.readouterr()  # programs, which write to this process's own streams
        return done.code, done.stdout + by_others.out, done.stderr + by_others.err

    def _ended(self, number: int, words: list[str]) -> tuple[int, str, str]:
        with self.corner.started(*words, **self.variables, **audited(self.started)) as running:
            running.moment_of("web: 1 old pods terminating")
            running.send(number)
            return running.end(240), running.printed, running.said


@pytest.fixture
def run(
    environment: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    corner = OwnKey(environment.sandbox, environment.folder, environment.name)
    seal(corner, CANARY.value)
    folders = {name: tmp_path / name.lower() for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME", "WRITTEN")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders["TMPDIR"]))
    variables = {name: str(folder) for name, folder in folders.items() if name != "WRITTEN"}
    # Else it is what this checkout stands on, and whoever commits meanwhile changes what was planned.
    variables["COMMIT_SHA"] = "c" * 40
    return Run(corner, folders["WRITTEN"], variables, tmp_path / "started", capfd)


@pytest.mark.long
@pytest.mark.timeout(900)  # up to a dozen tasks, one after another
@pytest.mark.parametrize("steps", STEPS)
def test_the_canary_is_found_nowhere_but_in_the_secret(run: Run, tmp_path: Path, steps: str) -> None:
    corner, (prepare, tasks) = run.corner, STEPS[steps]
    prepare(corner)
    for step in tasks:
        if step.before:
            step.before(corner)
        with watched_processes(CANARY) as seen:
            code, stdout, stderr = run.finished(step)
        assert step.code is None or code == step.code, (step.words, stderr)
        if step.keeps:
            (run.written / step.keeps).write_text(stdout)
        assert seen.looks > 0
        assert (step.words, seen.places) == (step.words, set())
        assert (step.words, started_with(CANARY, run.started)) == (step.words, [])
        assert not CANARY.is_in(stdout.encode()), step.words
        assert not CANARY.is_in(stderr.encode()), step.words
        logs = corner.sandbox.state.log("kms").parent
        assert (step.words, CANARY.files_below([tmp_path, *outputs(), logs])) == (step.words, [])
        assert (step.words, holders(corner) - {f"Secret {SECRET}"}) == (step.words, set())
    written = {path.relative_to(run.written).as_posix() for path in run.written.rglob("*")}
    assert written >= WRITTEN[steps]
    if steps != "a deploy that is refused":
        assert holders(corner) == {f"Secret {SECRET}"}


def holders(corner: OwnKey) -> set[str]:
    """What holds the canary in the namespace: `Kind name`, without prefix and hash; compressed content is unpacked."""
    found = set()
    for kind, path in namespaced(corner.api):
        for item in (corner.api.get(path.format(corner.name)) or {"items": []})["items"]:
            assert not CANARY.is_in(json.dumps(item["metadata"]).encode()), item["metadata"]["name"]
            if any(CANARY.is_in(part) for part in [json.dumps(item).encode(), *unpacked(item)]):
                name = item["metadata"]["name"].removeprefix(f"{corner.name}-")
                found.add(f"{kind} {SECRET if name.startswith(SECRET + '-') else name}")
    return found


@cache
def namespaced(api: Api) -> list[tuple[str, str]]:
    """Kind and path, with the namespace left open, of what a namespace can hold.

    Kinds that other tests define come and go, and hold what those tests put there.
    """
    groups = [group for group in (api.get("/apis") or {})["groups"] if is_kubernetes_own(group["name"])]
    bases = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    return [
        (resource["kind"], f"{base}/namespaces/{{}}/{resource['name']}")
        for base in bases
        for resource in (api.get(base) or {})["resources"]
        if resource["namespaced"] and "list" in resource["verbs"]
    ]


def is_kubernetes_own(group: str) -> bool:
    return "." not in group or group.endswith(".k8s.io")


def unpacked(item: dict[str, object]) -> Iterator[bytes]:
    """The content of a ConfigMap's compressed members, such as a release's objects."""
    members = item.get("binaryData") or {}
    assert isinstance(members, dict)
    for value in members.values():
        content = base64.b64decode(value)
        yield gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def test_the_search_would_find_it_in_a_release() -> None:
    packed = base64.b64encode(gzip.compress(CANARY.value.encode())).decode()
    assert not CANARY.is_in(packed.encode())
    assert any(CANARY.is_in(part) for part in unpacked({"binaryData": {"objects": packed}}))


def test_the_search_covers_every_kind_of_a_deploy(sandbox: Sandbox) -> None:
    assert {
        "Secret",
        "ConfigMap",
        "Event",
        "Pod",
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "Job",
        "Lease",
    } <= {kind for kind, _ in namespaced(sandbox.api())}
