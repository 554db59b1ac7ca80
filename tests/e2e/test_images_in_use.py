"""Which images a prune deletes after many releases, in a real registry beside a real cluster."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from tasks.lib.cluster.gke import connect
from tasks.lib.deploy.images_in_use import in_use
from tasks.lib.deploy.releases import store
from tasks.lib.image.prune import prune
from tasks.lib.image.reference import parse
from tests.builders import ROOT
from tests.deployed import deployed
from tests.docker_services import RegistryProcess, registry
from tests.lib.image.memory_registry import IMAGE, INDEX
from tests.sandbox_case import Case
from tests.screen import Screen, on_screen

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

LAST = store.KEPT + 4  # releases 1 to 4 are forgotten then
SECONDS = 60


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry of this test's own; it needs no Docker engine."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with registry(folder) as running:
        yield running


@dataclass
class Repository:
    """A repository of the registry, written to by its own API."""

    address: str

    @property
    def name(self) -> str:
        return f"{self.address}/lookit"

    def image(self, text: str, *tags: str) -> str:
        """Put an image there; returns its digest."""
        created = "2024-01-01T00:00:00Z"
        config = {"created": created, "os": "linux", "architecture": "amd64", "author": text}
        manifest = {"schemaVersion": 2, "mediaType": IMAGE, "config": self._blob(config), "layers": []}
        return self._manifest(manifest, IMAGE, tags)

    def index(self, *digests: str, tag: str) -> str:
        """Put a multi-platform image of these there; returns its digest."""
        platforms = [{"os": "linux", "architecture": one} for one in ("amd64", "arm64", "arm")]
        listed = [
            {"digest": digest, "mediaType": IMAGE, "size": self._size(digest), "platform": platform}
            for digest, platform in zip(digests, platforms, strict=False)
        ]
        return self._manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}, INDEX, (tag,))

    def holds(self, digest: str) -> bool:
        return requests.head(
            self._url(f"manifests/{digest}"), headers={"Accept": f"{IMAGE}, {INDEX}"}, timeout=SECONDS
        ).ok

    def _blob(self, content: object) -> dict[str, Any]:
        body = json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        begun = requests.post(self._url("blobs/uploads/"), timeout=SECONDS)
        requests.put(
            begun.headers["Location"], body, params={"digest": digest}, timeout=SECONDS
        ).raise_for_status()
        kind = "application/vnd.oci.image.config.v1+json"
        return {"digest": digest, "size": len(body), "mediaType": kind}

    def _manifest(self, content: object, kind: str, tags: tuple[str, ...]) -> str:
        body = json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        for name in (digest, *tags):
            answer = requests.put(
                self._url(f"manifests/{name}"), body, headers={"Content-Type": kind}, timeout=SECONDS
            )
            answer.raise_for_status()
        return digest

    def _size(self, digest: str) -> int:
        answer = requests.head(self._url(f"manifests/{digest}"), headers={"Accept": IMAGE}, timeout=SECONDS)
        return int(answer.headers["Content-Length"])

    def _url(self, path: str) -> str:
        return f"http://{self.address}/v2/lookit/{path}"


def commit(number: int) -> str:
    return f"{number:040x}"


def web(repository: Repository, number: int) -> dict[str, Any]:
    """A workload that runs a release's image."""
    pod = {"containers": [{"name": "main", "image": f"{repository.name}:{commit(number)}"}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def remember(case: Case, releases: Mapping[int, str]) -> None:
    """Keep releases as deploys do: each with its number and the image that it ran."""
    api = connect(case.settings, case.environment).api
    for number, image in releases.items():
        facts = {"commit": commit(number), "result": "deployed", "images": json.dumps([image])}
        store.add(api, case.name, facts, [], store.read(api, case.name))


def test_a_prune_during_a_deploy_removes_exactly_what_nothing_needs(
    served: RegistryProcess, environment: Case
) -> None:
    """Release 2 is deployed again: nothing but the lock names it yet, and that only since the question."""
    repository = Repository(served.address)
    held = {"shared part": repository.image("shared by two indexes")}
    for number in range(1, LAST + 1):
        if number in {4, LAST}:
            held[f"part {number}"] = repository.image(f"part {number}")
            listed = (held["shared part"], held[f"part {number}"])
            held[f"release {number}"] = repository.index(*listed, tag=commit(number))
        else:
            held[f"release {number}"] = repository.image(f"release {number}", commit(number))
    for number in (3, LAST):
        tag = held[f"release {number}"].replace(":", "-") + ".sig"
        held[f"signature {number}"] = repository.image(f"signature {number}", tag)
    images = {n: f"{repository.name}:{commit(n)}@{held[f'release {n}']}" for n in range(1, LAST)}
    remember(environment, images)
    home = {"INVOKE_IMAGE_REPOSITORY": repository.name}
    environment.hold_only(web(repository, LAST))
    deployed(environment, commit=commit(LAST), **home)
    environment.hold_only(web(repository, 2))
    argv = environment.argv("deploy", "--branch", "develop", "--commit", commit(2), "--approve")
    settings = replace(environment.settings, environments={"staging": environment.environment})

    with ExitStack() as stack:
        deploys: list[Screen] = []

        def agreed(question: str) -> bool:
            deploys.append(stack.enter_context(on_screen(argv, ROOT, environment.env(**home), 160, 50)))
            deploys[0].until(lambda lines: any("Type staging" in line for line in lines))
            return question.startswith("Delete 5 image(s)")

        pruned = parse(repository.name)
        prune(settings, pruned, 0, lambda: in_use(settings, pruned), agreed)
        gone = {name for name, digest in held.items() if not repository.holds(digest)}
        deploys[0].type("staging\n")
        assert deploys[0].end() == 0, "\n".join(deploys[0].whole)

    assert gone == {"release 1", "release 3", "signature 3", "release 4", "part 4"}
