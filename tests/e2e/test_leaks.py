"""A canary in the secrets of a whole deploy: after every task that meets the cluster, and after every failure, it is
found nowhere but in the Secret.

A new task of that kind is one more row; tests/test_leaks.py has those that need no cluster, and the guard that none
is forgotten.
"""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.lib.redaction import Secret
from tests.builders import ROOT
from tests.canary import Canary, watched_processes, workspaces
from tests.own_key import OwnKey
from tests.sandbox_case import Case

# Put together here, because `secrets.check` looks for the value in every committed file, this one too.
CANARY = Canary("-".join(("canary", "e2e", "Zq8", "never", "to", "be", "seen")))
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


def refused_by_kubernetes(corner: OwnKey) -> None:
    corner.patch("Deployment", "web", {"spec": {"replicas": -1}})


def accepted_again(corner: OwnKey) -> None:
    corner.patch("Deployment", "web", {"spec": {"replicas": 1}})


def revoked(corner: OwnKey) -> None:
    corner.administer().update_crypto_key_version(
        crypto_key_version={"name": f"{corner.key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )


@dataclass(frozen=True)
class Step:
    """A task, what happens before it, and how it ends (None: as it likes)."""

    words: str
    code: int | None = 0
    before: Callable[[OwnKey], None] = nothing


# One after another in one corner; {name} is its environment and branch, {folder} a folder for what tasks write.
STEPS = [
    Step("doctor --environment {name}", code=None),
    Step("plan --branch {name} --html {folder}/first.html --json"),
    Step("deploy --branch {name}"),
    Step("plan --branch {name} --html {folder}/second.html", before=changed),
    Step("plan --branch {name} --json --exit-code", code=3),
    Step("deploy --branch {name}"),
    Step("deploy --branch {name} --evidence {folder}/evidence", code=1, before=crashing),
    Step("deploy --branch {name} --no-rollback --evidence {folder}/evidence", code=1),
    Step("release.list --environment {name} --json"),
    Step("release.show --environment {name} --json"),
    Step("release.diff --environment {name} --json"),
    Step("release.status --environment {name} --json"),
    Step("release.rollback --environment {name}", before=mended),
    Step("deploy --branch {name}", code=1, before=refused_by_kubernetes),
    Step("deploy --branch {name}", before=accepted_again),
    Step("plan --branch {name}", code=1, before=revoked),
    Step("deploy --branch {name}", code=1),
]


def seal(corner: OwnKey, value: str) -> None:
    expected = corner.tree / "overlays" / "staging" / "secrets" / f"{SECRET}.env.expected"
    keys = [line for line in expected.read_text().splitlines() if line and not line.startswith("#")]
    corner.seal(**{f"{SECRET}.env": Secret("".join(f"{key}{value}\n" for key in keys).encode())})


@pytest.mark.timeout(900)  # a dozen deploys and plans, one after another
def test_the_canary_is_found_nowhere_but_in_the_secret(environment: Case, tmp_path: Path) -> None:
    corner = OwnKey(environment.sandbox, environment.folder, environment.name)
    seal(corner, CANARY.value)
    folders = {name: tmp_path / name.lower() for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME", "WRITTEN")}
    for folder in folders.values():
        folder.mkdir()
    places = {name: str(folder) for name, folder in folders.items() if name != "WRITTEN"}
    for step in STEPS:
        step.before(corner)
        words = step.words.format(name=corner.name, folder=folders["WRITTEN"]).split()
        with watched_processes(CANARY) as seen:
            done = corner.invoke(*words, time_limit=240, **places)
        assert step.code is None or done.returncode == step.code, (step.words, done.stderr)
        assert seen.looks > 0
        assert (step.words, seen.places) == (step.words, set())
        assert not CANARY.is_in(done.stdout.encode()), step.words
        assert not CANARY.is_in(done.stderr.encode()), step.words
        assert (step.words, CANARY.files_below([tmp_path, ROOT / "build", *workspaces()])) == (step.words, [])
        assert (step.words, holders(corner)) == (step.words, holders(corner) & {f"Secret {SECRET}"})
    assert {"first.html", "second.html", "evidence"} <= {path.name for path in folders["WRITTEN"].iterdir()}
    assert holders(corner) == {f"Secret {SECRET}"}


def holders(corner: OwnKey) -> set[str]:
    """What holds the canary in the cluster: `Kind name`, without prefix and hash; compressed content is unpacked."""
    paths = {
        "Secret": f"{corner.path}/secrets", "ConfigMap": f"{corner.path}/configmaps",
        "Event": f"{corner.path}/events", "Pod": f"{corner.path}/pods",
        "Deployment": f"/apis/apps/v1/namespaces/{corner.name}/deployments",
        "Lease": f"/apis/coordination.k8s.io/v1/namespaces/{corner.name}/leases",
    }  # fmt: skip
    found = set()
    for kind, path in paths.items():
        for item in (corner.api.get(path) or {"items": []})["items"]:
            assert not CANARY.is_in(json.dumps(item["metadata"]).encode()), item["metadata"]["name"]
            if any(CANARY.is_in(part) for part in [json.dumps(item).encode(), *unpacked(item)]):
                name = item["metadata"]["name"].removeprefix(f"{corner.name}-")
                found.add(f"{kind} {SECRET if name.startswith(SECRET + '-') else name}")
    return found


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
