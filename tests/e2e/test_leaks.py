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
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import TOO_MANY_REQUESTS
from pathlib import Path
from typing import Any

import pytest
from requests import HTTPError

from tasks.lib.redaction import Secret
from tests.canary import audited, outputs, started_with, unique, watched_processes
from tests.own_key import OwnKey
from tests.sandbox_case import Case

CANARY = unique("e2e-Zq8")
SECRET = "lookit-secrets"
pytestmark = pytest.mark.e2e


def nothing(_corner: OwnKey) -> None:
    """Leave all as it is."""


def changed(corner: OwnKey) -> None:
    seal(corner, f"{CANARY.value}-changed")


def crashing(corner: OwnKey) -> None:
    corner.behave("Deployment", "web", "crash-loop")


def mended(corner: OwnKey) -> None:
    corner.behave("Deployment", "web", "")


def never_ready(corner: OwnKey) -> None:
    slowly = {"sandbox.lookit.org/ready-after": "300s"}
    corner.patch("Deployment", "web", {"spec": {"template": {"metadata": {"annotations": slowly}}}})


def ready_at_once(corner: OwnKey) -> None:
    slowly = {"sandbox.lookit.org/ready-after": "0s"}
    corner.patch("Deployment", "web", {"spec": {"template": {"metadata": {"annotations": slowly}}}})


def refused_by_kubernetes(corner: OwnKey) -> None:
    corner.patch("Deployment", "web", {"spec": {"replicas": -1}})


def revoked(corner: OwnKey) -> None:
    corner.patch("Deployment", "web", {"spec": {"replicas": 1}})  # else it is refused for another reason
    corner.administer().update_crypto_key_version(
        crypto_key_version={"name": f"{corner.key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )


@dataclass(frozen=True)
class Step:
    """A task, what happens before it, and how it ends (None: as it likes).

    `keeps` is a file for its stdout; a `signal` is sent while it waits for a rollout.
    """

    words: str
    code: int | None = 0
    before: Callable[[OwnKey], None] = nothing
    keeps: str = ""
    signal: int = 0


# One after another in one corner; {name} is its environment and branch, {folder} a folder for what tasks write.
STEPS = [
    Step("doctor --environment {name}", code=None),
    Step("plan --branch {name} --html {folder}/first.html --json"),
    Step("deploy --branch {name} --report {folder}/report"),
    Step("plan --branch {name} --html {folder}/second.html", before=changed),
    Step("plan --branch {name} --json --exit-code", code=3, keeps="plan.json"),
    Step("deploy --branch {name} --plan-file {folder}/plan.json --report {folder}/planned"),
    Step(
        "deploy --branch {name} --evidence {folder}/evidence --report {folder}/failed",
        code=1,
        before=crashing,
    ),
    Step("deploy --branch {name} --no-rollback --evidence {folder}/evidence", code=1),
    Step("release.list --environment {name} --json"),
    Step("release.show --environment {name} --json"),
    Step("release.diff --environment {name} --json"),
    Step("release.status --environment {name} --json"),
    Step("release.rollback --environment {name}", before=mended),
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
    Step(
        "deploy --branch {name} --report {folder}/stopped",
        code=143,
        before=never_ready,
        signal=signal.SIGTERM,
    ),
    Step("deploy --branch {name}", code=-9, signal=signal.SIGKILL),
    Step("release.list --environment {name} --json"),
    Step("deploy --branch {name}", before=ready_at_once),
    Step("deploy --branch {name}", code=1, before=refused_by_kubernetes),
    Step("plan --branch {name}", code=1, before=revoked),
    Step("deploy --branch {name}", code=1),
]


def seal(corner: OwnKey, value: str) -> None:
    expected = corner.tree / "overlays" / "staging" / "secrets" / f"{SECRET}.env.expected"
    keys = [line for line in expected.read_text().splitlines() if line and not line.startswith("#")]
    corner.seal(**{f"{SECRET}.env": Secret("".join(f"{key}{value}\n" for key in keys).encode())})


@pytest.mark.long
@pytest.mark.timeout(2400)  # two dozen deploys, plans and looks at releases, one after another
def test_the_canary_is_found_nowhere_but_in_the_secret(environment: Case, tmp_path: Path) -> None:
    corner = OwnKey(environment.sandbox, environment.folder, environment.name)
    seal(corner, CANARY.value)
    folders = {name: tmp_path / name.lower() for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME", "WRITTEN")}
    for folder in folders.values():
        folder.mkdir()
    places = {name: str(folder) for name, folder in folders.items() if name != "WRITTEN"}
    # Else it is what this checkout stands on, and whoever commits meanwhile changes what was planned.
    places["COMMIT_SHA"] = "c" * 40
    started = tmp_path / "started"
    for step in STEPS:
        step.before(corner)
        words = step.words.format(name=corner.name, folder=folders["WRITTEN"]).split()
        with watched_processes(CANARY) as seen:
            code, stdout, stderr = finished(corner, step, words, {**places, **audited(started)})
        assert step.code is None or code == step.code, (step.words, stderr)
        if step.keeps:
            (folders["WRITTEN"] / step.keeps).write_text(stdout)
        assert seen.looks > 0
        assert (step.words, seen.places) == (step.words, set())
        assert (step.words, started_with(CANARY, started)) == (step.words, [])
        assert not CANARY.is_in(stdout.encode()), step.words
        assert not CANARY.is_in(stderr.encode()), step.words
        logs = environment.sandbox.state.log("kms").parent
        assert (step.words, CANARY.files_below([tmp_path, *outputs(), logs])) == (step.words, [])
        assert (step.words, holders(corner) - {f"Secret {SECRET}"}) == (step.words, set())
    written = {path.relative_to(folders["WRITTEN"]).as_posix() for path in folders["WRITTEN"].rglob("*")}
    assert {"first.html", "second.html", "plan.json", "evidence"} <= written
    reports = ("report", "planned", "failed", "stopped")
    assert {f"{folder}/{page}" for folder in reports for page in ("deploy.json", "deploy.html")} <= written
    assert holders(corner) == {f"Secret {SECRET}"}


def finished(corner: OwnKey, step: Step, words: list[str], places: dict[str, str]) -> tuple[int, str, str]:
    """Run a step to its end, or to the signal that it is meant to get: exit code and both streams."""
    if not step.signal:
        done = corner.invoke_apart(*words, **places)
        return done.returncode, done.stdout, done.stderr
    with corner.started(*words, **places) as running:
        running.moment_of(f"{corner.name}-web: 1 old pods terminating")
        running.send(step.signal)
        return running.end(240), running.printed, running.said


def holders(corner: OwnKey) -> set[str]:
    """What holds the canary in the namespace: `Kind name`, without prefix and hash; compressed content is unpacked."""
    found = set()
    for kind, path in listable(corner):
        for item in listed(corner, path):
            assert not CANARY.is_in(json.dumps(item["metadata"]).encode()), item["metadata"]["name"]
            if any(CANARY.is_in(part) for part in [json.dumps(item).encode(), *unpacked(item)]):
                name = item["metadata"]["name"].removeprefix(f"{corner.name}-")
                found.add(f"{kind} {SECRET if name.startswith(SECRET + '-') else name}")
    return found


def listed(corner: OwnKey, path: str) -> list[Any]:
    """The objects under a path; a server that has just learned of a kind says that it is not ready to list it."""
    while True:
        try:
            found = corner.api.get(path) or {"items": []}
        except HTTPError as error:
            if error.response.status_code != TOO_MANY_REQUESTS:
                raise
            time.sleep(0.2)
        else:
            return list(found["items"])


def listable(corner: OwnKey) -> Iterator[tuple[str, str]]:
    """Kind and path of everything that a namespace can hold."""
    groups = corner.api.get("/apis") or {"groups": []}
    for base in (
        "/api/v1",
        *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups["groups"]),
    ):
        for resource in (corner.api.get(base) or {"resources": []})["resources"]:
            if resource["namespaced"] and "list" in resource["verbs"]:
                yield resource["kind"], f"{base}/namespaces/{corner.name}/{resource['name']}"


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


def test_the_search_covers_every_kind_of_a_deploy(environment: Case) -> None:
    corner = OwnKey(environment.sandbox, environment.folder, environment.name)
    kinds = {kind for kind, _ in listable(corner)}
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
    } <= kinds
