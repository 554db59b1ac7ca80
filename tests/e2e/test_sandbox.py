"""The sandbox itself: it comes up, heals, keeps to itself and leaves nothing behind.

And deploys to one whose API server is away, or whose etcd is full.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import lifecycle, processes, supervisor, watching
from sandbox.state import State
from tests import program
from tests.deployed import COMMIT_B, deploy, deployed, make_ready, objects, plaintext_of, workload
from tests.heard import LONGEST, until
from tests.program import Ended, When
from tests.sandbox_case import Case, Sandbox, corner, fill_etcd, running

# Together: each worker that has a part in them would bring up a sandbox of its own.
pytestmark = [
    pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(600), pytest.mark.xdist_group("broken_sandbox"),
]  # fmt: skip

FULL = "database space exceeded"
COMPONENTS = (
    "google", "storage", "kms", "lookit-staging.etcd", "lookit-staging.apiserver",
    "lookit-staging.controller-manager", "lookit-staging.scheduler", "lookit-staging.kwok",
    "lookit-staging.kubelet",
)  # fmt: skip


def well(state: State) -> bool:
    return not [one for one in watching.status(state) if one.problem]


def pids(state: State) -> dict[str, int]:
    return {one.name: one.pid for one in watching.status(state)}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox that tests may break; its etcd is soon full."""
    with running(
        tmp_path_factory.mktemp("own") / "state", sandbox={"etcd_quota_bytes": 40_000_000}
    ) as sandbox:
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

    until(lambda: own.component(name).pid not in {0, victim.pid})
    until(lambda: well(own.state))


def test_up_takes_over_after_the_supervisor_was_killed(own: Sandbox) -> None:
    before = pids(own.state)
    watcher = processes.find(before.pop("supervisor"))
    assert watcher
    processes.signal_to(watcher, signal.SIGKILL)
    assert not processes.wait_for_end([watcher], LONGEST)

    after = {one.name: one.pid for one in lifecycle.up(own.settings, ["staging"])}

    assert after.pop("supervisor") != watcher.pid
    assert after == before


def test_a_task_in_the_sandbox_brings_a_killed_supervisor_back(own: Sandbox) -> None:
    before = pids(own.state)
    watcher = processes.find(before.pop("supervisor"))
    assert watcher
    processes.signal_to(watcher, signal.SIGKILL)
    assert not processes.wait_for_end([watcher], LONGEST)

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
    assert not processes.wait_for_end(victims, LONGEST)

    assert not [one for one in lifecycle.up(own.settings, ["staging"]) if not one.pid]

    until(lambda: well(own.state))
    assert own.api().get("/api/v1/namespaces/default/configmaps/kept")


def test_a_held_component_stays_down_until_released(own: Sandbox) -> None:
    with own.without("lookit-staging.apiserver"):
        other = processes.find(own.component("google").pid)
        assert other
        processes.signal_to(other, signal.SIGKILL)
        # The supervisor has been round since: it started again what was killed later.
        until(lambda: own.component("google").pid not in {0, other.pid})
        assert own.component("lookit-staging.apiserver").problem == "not running"

    until(lambda: well(own.state))


def test_status_and_logs_are_tasks(own: Sandbox) -> None:
    def invoke(*arguments: str) -> Ended:
        paths = {"PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
        return program.inv(arguments, {**paths, "INVOKE_SANDBOX_STATE": str(own.state.folder)})

    until(lambda: invoke("sandbox.status").returncode == 0)
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
    until(lambda: well(own.state))


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
    until(lambda: phase() == "Bound")
    assert phase(f"{environment.path}/persistentvolumeclaims/nobodys") == "Pending"
    found = environment.api.get(one)
    assert found
    bound = f"/api/v1/persistentvolumes/{found['spec']['volumeName']}"
    assert environment.api.get(bound)

    environment.kubectl("delete", "pod", "user", "--now")
    environment.kubectl("delete", "pvc", "disk")

    until(lambda: environment.api.get(bound) is None)


def test_another_account_has_only_what_it_was_given(environment: Case) -> None:
    name = f"reader-{environment.name}"
    email = environment.sandbox.make_account(name, ["container.clusters.get"], [])
    reader = environment.as_account(name)

    refused = reader.invoke("decrypt", "--environment", "staging")

    assert refused.returncode == 1
    assert email in refused.stderr
    assert "Traceback" not in refused.stderr
    assert reader.settings.google.credentials_file.endswith(f"{name}.json")


@pytest.fixture
def case(own: Sandbox, tmp_path: Path) -> Iterator[Case]:
    """A corner of the sandbox that these tests break."""
    with corner(own, tmp_path) as made:
        yield made


def test_a_deploy_goes_on_when_the_api_server_comes_back(case: Case) -> None:
    case.hold_only(workload("web", "never-ready"))
    with ExitStack() as down:
        without = case.sandbox.without("lookit-staging.apiserver")
        when: When = {
            "Deployment web: 0 of 1 available": partial(down.enter_context, without),
            "The API server does not answer": down.close,
            "The API server answers again.": partial(make_ready, case, "web"),
        }
        said = deployed(case.hearing(when))

    assert "staging is deployed: 1 of 1 objects changed" in said


@contextmanager
def room_again(case: Case) -> Iterator[None]:
    """Afterwards there is room in etcd again, however full it got inside."""
    try:
        yield
    finally:
        make_room(case)


def make_room(case: Case) -> None:
    """What an administrator of etcd does: delete, compact, defragment, disarm."""
    for name in objects(case, "configmaps"):
        if name.startswith("ConfigMap/fill-"):
            case.api.delete(f"{case.path}/configmaps/{name.removeprefix('ConfigMap/')}")
    port = case.sandbox.port("lookit-staging.etcd")
    etcd = f"http://127.0.0.1:{port}/v3"

    def ask(path: str, **body: object) -> Any:
        answer = requests.post(f"{etcd}/{path}", json=body, timeout=LONGEST)
        answer.raise_for_status()
        return answer.json()

    revision = ask("maintenance/status")["header"]["revision"]
    ask("kv/compaction", revision=revision, physical=True)
    ask("maintenance/defragment")
    for alarm in ask("maintenance/alarm", action="GET", alarm="NOSPACE")["alarms"]:
        ask("maintenance/alarm", action="DEACTIVATE", **alarm)


def queue(behaviour: str = "") -> dict[str, Any]:
    return workload("lookit-rabbitmq", behaviour, kind="StatefulSet")


def test_a_full_etcd_stops_the_deploy_and_a_rerun_finishes(case: Case) -> None:
    case.hold_only(queue(), workload("web"))
    with room_again(case):
        fill_etcd(case.api, case.name)
        done = deploy(case)
    assert done.code == 1
    assert FULL in done.stderr
    assert "The cluster's etcd is full" in done.stderr
    assert "Nothing was changed in the cluster." in done.stderr
    deployed(case)

    case.hold_only(queue("never-ready"), workload("web"))
    limits = {"INVOKE_TIME_LIMITS_ROLLOUT": "3s", "INVOKE_TIME_LIMITS_ROLLBACK": "3s"}
    with room_again(case):
        full = {"StatefulSet lookit-rabbitmq: changed": partial(fill_etcd, case.api, case.name)}
        done = deploy(case.hearing(full), commit=COMMIT_B, **limits)
    assert done.code == 70, done.stderr
    assert FULL in done.stderr
    assert "The rollback to release 1 failed as well" in done.stderr
    assert "Traceback" not in done.stderr
    assert not plaintext_of(os.getpid())
    with case.sandbox.without("lookit-staging.kwok"):
        pass  # unlike a kubelet, it tries a status that was refused again only after its own start
    case.hold_only(queue(), workload("web"))
    assert "staging is deployed" in deployed(case)
