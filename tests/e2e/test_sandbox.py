"""The sandbox itself: it comes up, heals, keeps to itself and leaves nothing behind."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import lifecycle, processes, supervisor, watching
from sandbox.state import State
from tests.builders import ROOT
from tests.sandbox_case import Case, Sandbox, running

# Together: each worker that has a part in them would bring up a sandbox of its own.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.xdist_group("broken_sandbox")]

COMPONENTS = (
    "google", "storage", "kms", "lookit-staging.etcd", "lookit-staging.apiserver",
    "lookit-staging.controller-manager", "lookit-staging.scheduler", "lookit-staging.kwok",
    "lookit-staging.kubelet",
)  # fmt: skip


def wait_until(what: str, true: Callable[[], object], time_limit: float = 60) -> None:
    """Look again and again until `true()`; fails with `what` at the limit."""
    deadline = time.monotonic() + time_limit
    while not true():
        assert time.monotonic() < deadline, f"not within {time_limit} s: {what}"
        time.sleep(0.1)


def well(state: State) -> bool:
    return not [one for one in watching.status(state) if one.problem]


def pids(state: State) -> dict[str, int]:
    return {one.name: one.pid for one in watching.status(state)}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox that tests may break."""
    with running(tmp_path_factory.mktemp("own") / "state") as sandbox:
        yield sandbox


def test_up_twice_starts_nothing_again(own: Sandbox) -> None:
    before = pids(own.state)

    after = {one.name: one.pid for one in lifecycle.up(own.settings, ["staging"])}

    assert after == before
    assert set(after) == {"supervisor", *COMPONENTS}


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_killed_component_is_started_again(own: Sandbox, name: str) -> None:
    victim = processes.find(own.component(name).pid)
    assert victim

    processes.signal_to(victim, signal.SIGKILL)

    wait_until(f"{name} is another process", lambda: own.component(name).pid not in {0, victim.pid})
    wait_until("all is well", lambda: well(own.state))


def test_up_takes_over_after_the_supervisor_was_killed(own: Sandbox) -> None:
    before = pids(own.state)
    watcher = processes.find(before.pop("supervisor"))
    assert watcher
    processes.signal_to(watcher, signal.SIGKILL)
    assert not processes.wait_for_end([watcher], 60)

    after = {one.name: one.pid for one in lifecycle.up(own.settings, ["staging"])}

    assert after.pop("supervisor") != watcher.pid
    assert after == before


def test_a_task_in_the_sandbox_brings_a_killed_supervisor_back(own: Sandbox) -> None:
    before = pids(own.state)
    watcher = processes.find(before.pop("supervisor"))
    assert watcher
    processes.signal_to(watcher, signal.SIGKILL)
    assert not processes.wait_for_end([watcher], 60)

    watching.require_up(own.state)

    after = pids(own.state)
    assert after.pop("supervisor") not in {0, watcher.pid}
    assert after == before


def test_up_recovers_killed_servers_and_keeps_data(own: Sandbox) -> None:
    name = {"metadata": {"name": "kept"}}
    own.api().create(
        "/api/v1/namespaces/default/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", **name}
    )
    victims = list(processes.owned_by(own.state.folder))
    watcher = supervisor.record_of(own.state, supervisor.NAME)
    assert watcher
    processes.signal_to(watcher.process, signal.SIGKILL)
    for victim in victims:
        processes.signal_to(victim, signal.SIGKILL)
    assert not processes.wait_for_end(victims, 60)

    assert not [one for one in lifecycle.up(own.settings, ["staging"]) if not one.pid]

    wait_until("all is well", lambda: well(own.state))
    assert own.api().get("/api/v1/namespaces/default/configmaps/kept")


def test_a_held_component_stays_down_until_released(own: Sandbox) -> None:
    with own.without("lookit-staging.apiserver"):
        other = processes.find(own.component("google").pid)
        assert other
        processes.signal_to(other, signal.SIGKILL)
        # The supervisor has been round since: it started again what was killed later.
        wait_until("another one is back", lambda: own.component("google").pid not in {0, other.pid})
        assert own.component("lookit-staging.apiserver").problem == "not running"

    wait_until("all is well", lambda: well(own.state))


def test_status_and_logs_are_tasks(own: Sandbox) -> None:
    def invoke(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "tasks", *arguments], cwd=ROOT, capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "INVOKE_SANDBOX_STATE": str(own.state.folder)},
            timeout=60, check=False,
        )  # fmt: skip

    wait_until("all is well", lambda: invoke("sandbox.status").returncode == 0)
    status = invoke("sandbox.status", "--json")
    unknown = invoke("sandbox.logs", "nobody")
    log = invoke("sandbox.logs", "lookit-staging.apiserver")

    found = json.loads(status.stdout)
    assert {one["name"] for one in found} == {"supervisor", *COMPONENTS}
    # A server that answers late just then is not well: what counts is that the one tells what the other does.
    assert bool(status.returncode) == any(one["problem"] for one in found)
    assert unknown.returncode == 2
    assert "There is no component 'nobody' in this sandbox." in unknown.stderr
    assert "Version: v1.36.3" in log.stdout


def test_two_sandboxes_live_side_by_side_and_down_leaves_nothing(own: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    with running(folder) as second:
        ports = [one.port for sandbox in (own, second) for one in watching.status(sandbox.state) if one.port]
        assert len(ports) == len(set(ports)) == 2 * len(COMPONENTS)
        assert len(list(processes.owned_by(folder))) >= len(COMPONENTS)
        before = pids(own.state)

    assert list(processes.owned_by(folder)) == []
    assert not folder.exists()
    assert pids(own.state) == before
    wait_until("all is well", lambda: well(own.state))


def test_claims_bind_and_are_cleared_away(environment: Case) -> None:
    for name in ("nobodys", "disk"):  # the one that nobody uses first
        claim = {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                     "resources": {"requests": {"storage": "3Gi"}}},
        }  # fmt: skip
        environment.api.create(f"{environment.path}/persistentvolumeclaims", claim)
    one = f"{environment.path}/persistentvolumeclaims/disk"

    def phase(claim: str = one) -> str:
        return str((environment.api.get(claim) or {}).get("status", {}).get("phase"))

    volume = {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}
    container = {"name": "main", "image": "any", "volumeMounts": [{"name": "disk", "mountPath": "/disk"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"},
           "spec": {"containers": [container], "volumes": [volume]}}  # fmt: skip
    environment.api.create(f"{environment.path}/pods", pod)
    wait_until("the claim is bound", lambda: phase() == "Bound")
    assert phase(f"{environment.path}/persistentvolumeclaims/nobodys") == "Pending"
    found = environment.api.get(one)
    assert found
    bound = f"/api/v1/persistentvolumes/{found['spec']['volumeName']}"
    assert environment.api.get(bound)

    environment.kubectl("delete", "pod", "user", "--now")
    environment.kubectl("delete", "pvc", "disk")

    wait_until("the volume is deleted", lambda: environment.api.get(bound) is None)


def test_another_account_has_only_what_it_was_given(environment: Case) -> None:
    name = f"reader-{environment.name}"
    email = environment.sandbox.make_account(name, ["container.clusters.get"], [])
    reader = environment.as_account(name)

    refused = reader.invoke("decrypt", "--environment", "staging")

    assert refused.returncode == 1
    assert email in refused.stderr
    assert "Traceback" not in refused.stderr
    assert reader.settings.google.credentials_file.endswith(f"{name}.json")
