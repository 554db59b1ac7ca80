"""The sandbox as tests use it: one for a whole run, shared by its workers, and a corner of it for each test."""

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import yaml

from sandbox import bootstrap, lifecycle, overlay, processes, watching
from sandbox.cloud import accounts, gke, sql
from sandbox.components import read_plan
from sandbox.kms import access
from sandbox.node.api import Api
from sandbox.state import State, locked
from tasks.lib.files import write_atomically
from tasks.lib.settings.model import Environment, Settings
from tests import program
from tests.builders import ROOT, checked_in_settings
from tests.heard import LONGEST, Heard, heard
from tests.program import Ended, When

FOLDERS = "lookit-e2e-"
CASE = "case"


class Line(Protocol):
    """A way to an API server, such as a proxy that misbehaves."""

    @property
    def endpoint(self) -> str:
        """Host and port."""


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that is up."""

    settings: Settings
    state: State

    def api(self, cluster: str = "lookit-staging") -> Api:
        """Its cluster's API, entered as administrator; for looking at what a task did."""
        url = f"https://127.0.0.1:{self.port(f'{cluster}.apiserver')}"
        return Api(url, self.state.cluster(cluster), time_limit=120)  # a busy machine is no failure

    def port(self, name: str) -> int:
        """Where one of its servers listens, without asking all of them how they are."""
        return next(one.port for one in read_plan(self.state.plan) if one.name == name)

    def component(self, name: str) -> watching.Status:
        """How one of its servers is."""
        return next(one for one in watching.status(self.state) if one.name == name)

    def overlaid(self, values: Mapping[str, Any], account: str = "deployer") -> Settings:
        """The settings that `--sandbox` would give, with `values` on top of invoke.yaml's."""
        sandbox = {
            **overlay.values(self.state, list(self.settings.environments), account),
            **overlay.image_values(values),
        }
        base = {"sandbox": {"state": str(self.state.folder)}, "source": {"checkout": str(ROOT)}}
        return checked_in_settings(**merged(merged(base, values), sandbox))

    def make_account(self, name: str, permissions: Iterable[str], roles: Iterable[str]) -> str:
        """Make a service account that has only what is named here; it has no rights in any cluster.

        Args:
            name: what INVOKE_SANDBOX_ACCOUNT (or the setting sandbox.account) takes to run as this account.
            permissions: of Google's REST APIs, such as container.clusters.get.
            roles: in the KMS, such as roles/cloudkms.cryptoKeyDecrypter.

        Returns:
            Its e-mail address: the user that Kubernetes sees.

        """
        url = f"http://127.0.0.1:{self.port('google')}/token"
        accounts.create(self.state.google, name, "lookit-sandbox", url, permissions)
        email = accounts.email_of(name, "lookit-sandbox")
        policy = self.state.kms / access.POLICY
        with locked(self.folder_lock, "Another test is making an account …"):
            before = json.loads(policy.read_text()) if policy.exists() else access.DEFAULT_POLICY
            write_atomically(policy, json.dumps({**before, email: list(roles)}).encode())
        return email

    @property
    def folder_lock(self) -> Path:
        """Held while a file that tests share is rewritten."""
        return self.state.folder / "tests.lock"

    @contextmanager
    def without(self, component: str) -> Iterator[None]:
        """Kill one server and keep it down while inside."""
        before = processes.find(self.component(component).pid)
        watching.hold(self.state, component)
        try:
            assert before is None or not processes.wait_for_end([before], LONGEST)
            yield
        finally:
            watching.release(self.state, component)


@dataclass(frozen=True)
class Case:
    """One test's corner of the sandbox: a tree with an overlay of its own, a namespace, a prefix, a bucket."""

    sandbox: Sandbox
    folder: Path
    name: str
    project: str = "mit-lookit"
    account: str = "deployer"
    when: When = field(default_factory=dict, compare=False)

    @property
    def tree(self) -> Path:
        """The copy of kubernetes/ that belongs to this test."""
        return self.folder / "kubernetes"

    @property
    def values(self) -> dict[str, Any]:
        """What this test changes in the settings."""
        staging = {
            "project": self.project,
            "namespace": self.name,
            "prefix": f"{self.name}-",
            "overlay": f"overlays/{CASE}",
            "secrets": {"plaintexts": f"overlays/{CASE}/secrets"},
            "buckets": {"archives": self.name, "private": f"{self.name}-private"},
            "database": {"instance": f"mit-lookit:us-east1:{self.name}"},
        }
        return {
            "kustomize": {"tree": str(self.tree)},
            "environments": {"staging": staging},
            "deploy": {"evidence": str(self.folder / "evidence")},
        }

    @cached_property
    def settings(self) -> Settings:
        """The settings for calls of the library."""
        return self.sandbox.overlaid(self.values, self.account)

    @property
    def environment(self) -> Environment:
        """The environment that is this test's."""
        return self.settings.environment("staging")

    @cached_property
    def api(self) -> Api:
        """The cluster, entered as administrator; for looking at what a task did."""
        return self.sandbox.api()

    @property
    def path(self) -> str:
        """The API path of this test's namespace in the core group."""
        return f"/api/v1/namespaces/{self.name}"

    @contextmanager
    def behind(self, line: Line) -> Iterator["Case"]:
        """The same corner, reached over a line: the GKE API knows the cluster in another project there."""
        project = f"behind-{self.name}"
        path = self.sandbox.state.google / "clusters" / "mit-lookit_us-east1-d_lookit-staging.json"
        known = gke.KnownCluster(**json.loads(path.read_text()))
        gke.register(self.sandbox.state.google, replace(known, project=project, endpoint=line.endpoint))
        yield replace(self, project=project)

    def as_account(self, name: str) -> "Case":
        """The same corner, entered as another service account (`Sandbox.make_account`)."""
        return replace(self, account=name)

    def hearing(self, when: When) -> "Case":
        """The same corner; what `invoke` runs goes on after a text only when what belongs to that text is done."""
        return replace(self, when=when)

    def argv(self, *arguments: str) -> list[str]:
        """The command that runs tasks against this corner, as a person would."""
        return [sys.executable, "-m", "tasks", "-f", str(self._settings_file()), *arguments]

    def env(self, **variables: str) -> dict[str, str]:
        """The environment for `argv`."""
        return {**os.environ, "LOOKIT_SANDBOX": "1", **variables}

    def invoke(self, *arguments: str, **variables: str) -> Ended:
        """Run tasks to their end, in this process: a start of Python costs as much as a small deploy."""
        return program.inv(self.argv(*arguments)[3:], self.env(**variables), self.when)

    def invoke_apart(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """The same as a process of its own; returns the completed process with its output as text."""
        return subprocess.run(
            self.argv(*arguments), cwd=ROOT, env=self.env(**variables), timeout=600,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    @contextmanager
    def started(self, *arguments: str, **variables: str) -> Iterator[Heard]:
        """Tasks as a process of their own while inside; it is killed at the end if it still runs."""
        process = subprocess.Popen(
            self.argv(*arguments), cwd=ROOT, env=self.env(**variables),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with heard(process) as running:
            yield running

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as administrator in this test's namespace; returns its output."""
        kubeconfig = self.sandbox.state.cluster("lookit-staging") / "admin.kubeconfig"
        kubectl = str(Path(sys.executable).with_name("kubectl"))
        done = subprocess.run(
            [kubectl, f"--kubeconfig={kubeconfig}", f"--namespace={self.name}", *arguments],
            capture_output=True, text=True, timeout=240, check=True,
        )  # fmt: skip
        return done.stdout

    def patch(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        """Change the tree: merge `patch` into the object `name` (without prefix) of `kind`."""
        path = self.tree / "overlays" / CASE / "prefixed" / "kustomization.yaml"
        document = yaml.safe_load(path.read_text())
        target = {"kind": kind, "name": name}
        whole = {"apiVersion": "any/v1", "kind": kind, "metadata": {"name": name}, **patch}
        document.setdefault("patches", []).append({"target": target, "patch": yaml.safe_dump(whole)})
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def unpatch(self) -> None:
        """Change the tree: take back what `patch` and `behave` changed."""
        path = Path("prefixed", "kustomization.yaml")
        as_before = yaml.safe_load((self.tree / "overlays" / "staging" / path).read_text())
        rewrite(self.tree / "overlays" / CASE / path, patches=as_before["patches"])

    def add(self, thing: Mapping[str, Any]) -> None:
        """Change the tree: add an object, its name without prefix."""
        folder = self.tree / "overlays" / CASE / "prefixed"
        name = f"{thing['kind']}-{thing['metadata']['name']}.yaml"
        (folder / name).write_text(yaml.safe_dump(thing))
        self._list_resource(name, present=True)

    def remove(self, kind: str, name: str) -> None:
        """Change the tree: take an object out that `add` put in."""
        self._list_resource(f"{kind}-{name}.yaml", present=False)

    def hold_only(self, *things: Mapping[str, Any], **more: Any) -> None:
        """Change the tree: these objects, with their names as they are, and no others.

        Args:
            things: the objects.
            more: other members of the kustomization, such as `components`.

        """
        folder = self.tree / "overlays" / CASE
        (folder / "things.yaml").write_text(yaml.safe_dump_all(things))
        document = {"namespace": self.name, "resources": ["things.yaml"], **more}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))

    def _list_resource(self, name: str, *, present: bool) -> None:
        path = self.tree / "overlays" / CASE / "prefixed" / "kustomization.yaml"
        document = yaml.safe_load(path.read_text())
        others = [one for one in document.get("resources") or [] if one != name]
        document["resources"] = [*others, name] if present else others
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def behave(self, kind: str, name: str, behaviour: str, **annotations: str) -> None:
        """Make the pods of a workload fail as docs/sandbox.md says; an empty `behaviour` makes them healthy.

        Args:
            kind: such as Deployment.
            name: its name without prefix.
            behaviour: such as crash-loop.
            annotations: others of sandbox.lookit.org, underscores for dashes: exit_code, logs, container, …

        """
        given = {f"sandbox.lookit.org/{key.replace('_', '-')}": value for key, value in annotations.items()}
        given["sandbox.lookit.org/behave"] = behaviour
        self.patch(kind, name, {"spec": {"template": {"metadata": {"annotations": given}}}})

    def _settings_file(self) -> Path:
        path = self.folder / "invoke.yaml"
        state = {"sandbox": {"state": str(self.sandbox.state.folder), "account": self.account}}
        path.write_text(yaml.safe_dump(merged(self.values, state)))
        return path


def make_case(sandbox: Sandbox, folder: Path, name: str, like: str = "staging") -> Case:
    """Set a corner up: its tree on disk, like an environment's, its namespace and bucket in the sandbox."""
    case = Case(sandbox, folder, name)
    shutil.copytree(ROOT / "kubernetes", case.tree)
    overlays = case.tree / "overlays"
    shutil.copytree(overlays / like, overlays / CASE)
    rewrite(overlays / CASE / "kustomization.yaml", namespace=name)
    rewrite(overlays / CASE / "prefixed" / "kustomization.yaml", namePrefix=f"{name}-")
    service = case.tree / "base/application/web/service.yaml"
    fixed = ", nodePort: 32403"
    assert fixed in service.read_text()
    service.write_text(service.read_text().replace(fixed, ""))
    case.api.create(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    sql.register(sandbox.state.google, "mit-lookit", name)
    bootstrap.create_bucket(case.settings.google.storage, "mit-lookit", name)
    return case


@contextmanager
def corner(sandbox: Sandbox, folder: Path, like: str = "staging") -> Iterator[Case]:
    """A corner while inside, with a name of its own.

    Its namespace goes with the sandbox: to delete it costs the API server almost as much as the deploys before.
    Only one whose pods fail, and are started again and again, goes at once.
    """
    case = make_case(sandbox, folder, f"t{uuid.uuid4().hex[:8]}", like=like)
    try:
        yield case
    finally:
        pods = (case.api.get(f"{case.path}/pods") or {"items": []})["items"]
        if not all(is_at_rest(pod) for pod in pods):
            case.api.delete(case.path)


def is_at_rest(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has ended, or runs and is ready: nothing is done about it then."""
    status = pod["status"]
    ready = {"type": "Ready", "status": "True"}.items()
    return status["phase"] == "Succeeded" or any(ready <= one.items() for one in status.get("conditions", ()))


def fill_etcd(api: Api, namespace: str) -> None:
    """Write until etcd has no room left; only for a sandbox of one's own with a small sandbox.etcd_quota_bytes."""
    for number in range(10_000):
        metadata = {"name": f"fill-{number}"}
        value = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"fill": "x" * 900_000},
        }
        path = f"{api.url}/api/v1/namespaces/{namespace}/configmaps"
        answer = api.session.post(path, json=value, timeout=LONGEST)
        if answer.status_code == 500 and "database space exceeded" in answer.text:
            return
        answer.raise_for_status()
    raise AssertionError("etcd took 9 GB; its quota is not in force")


def rewrite(path: Path, **values: Any) -> None:
    """Set members of a kustomization."""
    document = yaml.safe_load(path.read_text())
    assert set(values) <= set(document)
    path.write_text(yaml.safe_dump({**document, **values}, sort_keys=False))


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, `high` on top."""
    result = copy.deepcopy(dict(low))
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


@contextmanager
def running(folder: Path, *environments: str, containers: bool = False, **values: Any) -> Iterator[Sandbox]:
    """A sandbox of its own in `folder`, ended afterwards."""
    settings = checked_in_settings(**merged({"sandbox": {"state": str(folder)}}, values))
    state = State(folder)
    try:
        lifecycle.up(settings, environments or ["staging"], containers=containers)
        yield Sandbox(settings, state)
    finally:
        lifecycle.down(state, keep_data=False)


@contextmanager
def shared(run: str) -> Iterator[Sandbox]:
    """The one sandbox of the test run called `run`: the first worker brings it up, the last ends it."""
    folder = Path(tempfile.gettempdir()) / f"{FOLDERS}{run}"
    sweep_abandoned()
    me = processes.find(os.getpid())
    assert me
    mine = folder / "users" / f"{me.pid}-{me.started}"
    settings = checked_in_settings(sandbox={"state": str(folder / "state")})
    with locked(folder.with_suffix(".lock"), "Another worker is bringing the sandbox up …"):
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.touch()
        lifecycle.up(settings, ["staging"])
    try:
        yield Sandbox(settings, State(folder / "state"))
    finally:
        with locked(folder.with_suffix(".lock"), "Another worker is ending the sandbox …"):
            mine.unlink(missing_ok=True)
            _end_if_unused(folder)


def sweep_abandoned() -> None:
    """End the sandboxes of test runs that died."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*/"):
        if _is_used(folder):
            continue  # another run may be bringing it up: no reason to wait for that
        with locked(folder.with_suffix(".lock"), f"{folder} is being brought up or down …"):
            _end_if_unused(folder)


def _is_used(folder: Path) -> bool:
    users = (folder / "users").glob("*-*")
    return any(processes.Process(*map(int, user.name.split("-"))).alive for user in users)


def _end_if_unused(folder: Path) -> None:
    if not _is_used(folder):
        lifecycle.down(State(folder / "state"), keep_data=False)
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)
