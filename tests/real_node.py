"""A sandbox with a real node as tests use it, with a namespace whose pods run there."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from sandbox import processes
from sandbox.binaries import cache_folder
from sandbox.containers import cgroups, checks, containerd, furnishing, packages, place
from sandbox.containers.packages import Tools
from sandbox.containers.place import LABEL, REAL, Place
from sandbox.images import archive, making, recipes, site
from sandbox.images.archive import Image
from sandbox.processes import Process
from tasks.lib import go
from tests.builders import ROOT
from tests.debian import unavailable
from tests.sandbox_case import Sandbox, running

# Ends only what hangs: how long anything takes is the machine's business.
TIME_LIMIT = 900.0
UNLIMITED = f"{TIME_LIMIT:g}s"  # the same as a setting
CLUSTER = "lookit-staging"
IMAGE = "sandbox.local/probe:1"
SPACE = "probes"
SERVERS = (
    "node",
    "node-containerd",
    "node-kubelet",
    "node-kube-proxy",
    "node-dns",
    "node-cloud-sql",
    "node-storage",
)


def wait_until(what: str, true: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIME_LIMIT
    while not true():
        assert time.monotonic() < deadline, f"not within {TIME_LIMIT:g} s: {what}"
        time.sleep(0.2)


class Node:
    """The real node of a sandbox, with a namespace whose pods run on it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.state = sandbox, sandbox.state
        self.api = sandbox.api(CLUSTER)
        self.place: Place = place.read(place.folder_of(sandbox.state.cluster(CLUSTER)))

    def make_namespace(self, name: str, annotations: Mapping[str, str]) -> None:
        metadata = {"name": name, "annotations": dict(annotations)}
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.api.create("/api/v1/namespaces", space)

    def run(self, name: str, *command: str, space: str = SPACE, **spec: Any) -> None:
        """Start a pod with one container of the probe."""
        container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "args": list(command)}
        container |= spec.pop("container", {})
        metadata = {"name": name, "labels": {"app": name}}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [container], **spec},
        }
        wait_until("the namespace has its account", lambda: self.api.get(
            f"/api/v1/namespaces/{space}/serviceaccounts/default"))  # fmt: skip
        self.api.create(f"/api/v1/namespaces/{space}/pods", pod)

    def pod(self, name: str, space: str = SPACE) -> Mapping[str, Any]:
        return self.api.get(f"/api/v1/namespaces/{space}/pods/{name}") or {}

    def is_ready(self, name: str, space: str = SPACE) -> bool:
        conditions = self.pod(name, space).get("status", {}).get("conditions", ())
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    @property
    def tools(self) -> Tools:
        return packages.obtain(cache_folder())

    def apply(self, documents: str) -> None:
        said = self.kubectl("apply", "--filename=-", stdin=documents)
        assert "rror" not in said, said

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        kubeconfig = self.state.cluster(CLUSTER) / "admin.kubeconfig"
        argv = [
            str(ROOT / ".venv/bin/kubectl"),
            f"--kubeconfig={kubeconfig}",
            f"--namespace={SPACE}",
            *arguments,
        ]
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
        return done.stdout + done.stderr

    def log(self, pod: str, space: str = SPACE) -> str:
        """The log of a pod with one container; empty while there is none. To be asked again and again."""
        path = f"{self.api.url}/api/v1/namespaces/{space}/pods/{pod}/log"
        answer = self.api.session.get(path, timeout=TIME_LIMIT)
        return answer.text if answer.ok else ""

    def probe(self, *command: str) -> str:
        """What the probe says in the pod `web`."""
        return self.kubectl("exec", "web", "--", "/probe", *command)

    def events(self, pod: str) -> list[str]:
        """The messages about a pod."""
        found = self.api.get(f"/api/v1/namespaces/{SPACE}/events") or {"items": []}
        return [one["message"] for one in found["items"] if one["involvedObject"]["name"] == pod]

    def pid(self, server: str) -> int:
        return self.sandbox.component(f"{CLUSTER}.{server}").pid

    def program(self, server: str) -> Process:
        """The program itself, which runs inside; what the sandbox started stands for it outside."""
        children = psutil.Process(self.pid(server)).children()
        assert children
        found = processes.find(children[0].pid)
        assert found
        return found

    def inside(self) -> list[Process]:
        """All processes in the node's PID namespace, and in those of its pods."""
        first = self.place.first_process()
        assert first
        namespace = _namespace(first.pid)
        below = {one.pid for one in psutil.Process(first.pid).children(recursive=True)}
        there = below | {one for one in psutil.pids() if _namespace(one) == namespace}
        return [known for one in sorted(there) if (known := processes.find(one))]

    def traces(self) -> list[str]:
        """What is on this machine of the node."""
        links = [name for name in psutil.net_if_addrs() if name == self.place.link]
        groups = [str(path) for path in cgroups.ROOT.glob(f"*/{self.place.group}")]
        groups += [str(path) for path in cgroups.ROOT.glob(self.place.group)]
        folder = str(self.state.folder)
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if folder in line]
        owned = [str(one) for one in processes.owned_by(self.state.folder)]
        left = [folder] if self.state.folder.exists() else []
        return [*links, *groups, *mounts, *owned, *left]


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def build_probe(folder: Path) -> Image:
    """The probe's image."""
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    argv = [go.command(), "build", "-o", str(folder / "probe"), "."]
    subprocess.run(argv, cwd=ROOT / "tests/data/probe", env=env, check=True, timeout=300)
    return archive.of_program(folder / "probe", (IMAGE,), folder, {"User": "1001"})


def require_a_fit_machine(folder: Path) -> None:
    if found := list(checks.problems(checks.look(folder))):
        unavailable(" ".join(one.what for one in found))


@contextmanager
def real_node(folder: Path) -> Iterator[Node]:
    """A sandbox of its own in `folder` while inside; its namespace SPACE is there."""
    require_a_fit_machine(folder)
    with running(folder / "state", containers=True, time_limits={"sandbox": UNLIMITED}) as sandbox:
        made = Node(sandbox)
        made.make_namespace(SPACE, {furnishing.NODE_SELECTOR: f"{LABEL}={REAL}"})
        yield made


@contextmanager
def node_of_probes(folder: Path) -> Iterator[Node]:
    """A real node with the probe, as a web server behind a Service too, and the database: no image of the site."""

    def database(*_: object) -> list[Image]:
        return [making.obtain(recipes.ALL["postgres"], making.folder())]

    with mock.patch.object(site, "images", database), real_node(folder) as made:
        containerd.import_images(made.place, made.tools, [build_probe(folder)])
        made.run("web", "serve", ":8080", terminationGracePeriodSeconds=1)
        service = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "site"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }  # fmt: skip
        made.api.create(f"/api/v1/namespaces/{SPACE}/services", service)
        wait_until("web is ready", lambda: made.is_ready("web"))
        wait_until("its Service leads to it", lambda: "this is web" in made.probe("get", "http://site/"))
        yield made
