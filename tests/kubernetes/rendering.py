"""Building the checked-in tree, or a changed copy of it, and finding objects by their plain names."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.lib.render.kustomize import HEAP
from tasks.lib.render.templates import fill_tree

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")
LABEL = "app.kubernetes.io/"
RELEASE_LABELS = {LABEL + "instance", LABEL + "version"}

# The six workloads that run the Lookit image: kind, name, container.
APPLICATION = [
    ("Deployment", "web", "uwsgi"),
    ("Deployment", "beat", "beat"),
    ("Deployment", "worker", "worker"),
    ("StatefulSet", "builder", "builder"),
    ("Job", "migration", "migration"),
    ("Job", "collectstatic", "collectstatic"),
]
ALL_WORKLOADS = [
    *((kind, name) for kind, name, _ in APPLICATION),
    ("StatefulSet", "lookit-rabbitmq"),
    ("Deployment", "gcloud-sqlproxy"),
]

Object = dict[str, Any]


@dataclass(frozen=True)
class Tree:
    """One environment as rendered: objects by (kind, name without prefix and hash)."""

    environment: str
    stdout: str
    stderr: str
    objects: dict[tuple[str, str], Object]

    @property
    def prefix(self) -> str:
        return f"{self.environment}-"

    def get(self, kind: str, name: str) -> Object:
        return self.objects[kind, name]

    def of_kind(self, *kinds: str) -> dict[str, Object]:
        return {name: found for (kind, name), found in self.objects.items() if kind in kinds}

    def pod(self, kind: str, name: str) -> Object:
        pod: Object = self.get(kind, name)["spec"]["template"]["spec"]
        return pod

    def containers(self, kind: str, name: str) -> dict[str, Object]:
        pod = self.pod(kind, name)
        return by_name([*pod.get("initContainers", []), *pod["containers"]])

    def container(self, kind: str, name: str, container: str) -> Object:
        return self.containers(kind, name)[container]

    def every_container(self) -> list[tuple[str, Object]]:
        """(name, container) of all pods; a wait stands there once for each pod that waits."""
        return [found for kind, name in ALL_WORKLOADS for found in self.containers(kind, name).items()]

    def real_name(self, kind: str, name: str) -> str:
        real: str = self.get(kind, name)["metadata"]["name"]
        return real


def by_name(items: list[Object]) -> dict[str, Object]:
    return {item["name"]: item for item in items}


def build(environment: str, tree: Path = TREE, prefix: str = "") -> Tree:
    """Render with kubectl alone, as anyone would on a clean checkout."""
    done = subprocess.run(
        [KUBECTL, "kustomize", tree / "overlays" / environment],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env={**HEAP, **os.environ},
    )
    assert done.returncode == 0, done.stderr
    objects = {
        (found["kind"], plain_name(found, prefix or f"{environment}-")): found
        for found in yaml.load_all(done.stdout, yaml.CSafeLoader)
    }
    return Tree(environment, done.stdout, done.stderr, objects)


@functools.cache
def checked_in(environment: str) -> Tree:
    """The checked-in tree as rendered once in each process, so whoever changes an object copies it first."""
    return build(environment)


def plain_name(found: Object, prefix: str) -> str:
    name: str = found["metadata"]["name"].removeprefix(prefix)
    if found["kind"] in {"ConfigMap", "Secret"}:
        name = re.sub(r"-[a-z0-9]{10}$", "", name)
    return name


def changed_copy(folder: Path, change: Callable[[Path], None]) -> Path:
    """A copy of the tree after `change(tree)`."""
    copy = folder / "kubernetes"
    shutil.copytree(TREE, copy)
    change(copy)
    return copy


@functools.cache
def build_release(environment: str, commit: str, tag: str) -> Tree:
    """Render as a deploy does; once in each process, so whoever changes an object copies it first."""
    with tempfile.TemporaryDirectory() as folder:
        return build(environment, prepared(environment, Path(folder), commit, tag))


def prepared(environment: str, folder: Path, commit: str, tag: str) -> Path:
    """A copy of the tree as a deploy builds it: templates filled in, secrets decrypted beside them."""
    copy = changed_copy(folder, lambda tree: expected_to_plaintext(tree, environment))
    fill_tree(
        copy,
        {
            "IMAGE_REPOSITORY": "gcr.io/mit-lookit/lookit",
            "COMMIT_SHA": commit,
            "SHORT_SHA": commit[:7],
            "TAG_NAME": tag,
        },
    )
    return copy


def expected_to_plaintext(tree: Path, environment: str) -> None:
    """Decrypted files with every expected key; only `environment` has them, as in a deploy."""
    for expected in (tree / "overlays" / environment / "secrets").glob("*.expected"):
        text = expected.read_text()
        filled = re.sub("=$", "=value", text, flags=re.MULTILINE).replace('""', '"value"')
        expected.with_suffix("").write_text(filled)
