"""Where a command runs, and what its end means; tests/e2e/test_site.py runs commands in real pods."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster.kubectl import Kubectl
from tasks.lib.errors import Failure, UsageError
from tasks.lib.operate import terminal
from tasks.lib.operate.terminal import Place, Stderr, Wanted
from tests.builders import checked_in_settings
from tests.lib.cluster.scripted import Answer, Scripted, scripted

STAGING = checked_in_settings().environment("staging")
APP = "gcr.io/mit-lookit/lookit"
PLACE = Place("web-1", "app", "containerd://1")
PODS = "/api/v1/namespaces/default/pods"
OCI = "failed to start exec: OCI runtime exec failed: exec failed: unable to start container process: exec: "


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Scripted]:
    with scripted(tmp_path) as served:
        yield served


def pod(name: str, *containers: str, ready: bool = True, created: str = "1", **more: Any) -> dict[str, Any]:
    names = containers or ("app",)
    statuses = [
        {"name": one, "state": {"running": {}}, "containerID": f"containerd://{one}"} for one in names
    ]
    conditions = [{"type": "Ready", "status": str(ready), "message": "containers with unready status: [app]"}]
    specs = [{"name": one, "image": f"{APP}:1" if one == "app" else f"{one}:1"} for one in names]
    return {
        "metadata": {"name": name, "creationTimestamp": created, **more},
        "spec": {"containers": specs},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": statuses},
    }


def chosen(*pods: dict[str, Any], **wanted: str) -> Place:
    return terminal.choose(pods, Wanted("web", **wanted), STAGING, APP)


def test_the_newest_ready_pod_and_the_application_are_taken() -> None:
    sidecar = pod("web-2", "proxy", "app", created="2")
    going = pod("web-3", created="3", deletionTimestamp="4")

    found = chosen(pod("web-1"), sidecar, going, pod("web-4", created="4", ready=False))

    assert (found.pod, found.container) == ("web-2", "app")


def test_the_pods_own_default_container_comes_first() -> None:
    annotations = {"kubectl.kubernetes.io/default-container": "proxy"}
    assert chosen(pod("web-1", "app", "proxy", annotations=annotations)).container == "proxy"
    assert chosen(pod("web-1", "app", "proxy", annotations=annotations), container="app").container == "app"


def test_a_named_pod_need_not_be_ready() -> None:
    assert chosen(pod("web-1"), pod("web-2", ready=False), pod="web-2").pod == "web-2"


@pytest.mark.parametrize(
    ("wanted", "what", "next_step"),
    [
        ({"pod": "web-l"}, "web has no pod 'web-l'.", "Did you mean web-1?"),
        ({"container": "nginx"}, "Pod web-1 has no container 'nginx'.", ""),
    ],
)
def test_unknown_names_are_wrong_usage(wanted: dict[str, str], what: str, next_step: str) -> None:
    with pytest.raises(UsageError) as refused:
        chosen(pod("web-1"), **wanted)

    assert (refused.value.what, refused.value.next_step) == (what, next_step)


def test_each_pod_that_is_not_ready_says_why() -> None:
    crashing = pod("web-1", ready=False)
    crashing["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    going = pod("web-3", deletionTimestamp="4")

    with pytest.raises(Failure, match="No pod of web is ready in staging") as failed:
        chosen(crashing, pod("web-2", ready=False), going)

    first, second, third = failed.value.why.splitlines()
    assert first.startswith("pod web-1, container app: CrashLoopBackOff: ")
    assert second == "pod web-2: containers with unready status: [app]"
    assert third == "pod web-3: it is being removed"
    assert "./inv status --environment staging" in failed.value.next_step


def test_a_workload_without_pods_says_so() -> None:
    with pytest.raises(Failure) as failed:
        chosen()
    assert failed.value.why == "It has no pods."


def test_a_container_that_does_not_run_is_explained() -> None:
    stopped = pod("web-1", ready=False)
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    stopped["status"]["containerStatuses"][0]["state"] = ended

    with pytest.raises(Failure, match="Container app of pod web-1 does not run") as failed:
        chosen(stopped, pod="web-1")

    assert "OOMKilled" in failed.value.why


def test_kubectl_is_asked_for_a_terminal_only_with_one(tmp_path: Path) -> None:
    private = Kubectl("kubectl", tmp_path)

    pipes = private.argv(*terminal.arguments(PLACE, ["ls", "-l"], has_terminal=False))
    with_terminal = terminal.arguments(PLACE, ["bash"], has_terminal=True)

    assert pipes[3:] == ("exec", "--stdin", "--container=app", "web-1", "--", "ls", "-l")
    assert with_terminal == ("exec", "--stdin", "--tty", "--container=app", "web-1", "--", "bash")


@pytest.mark.parametrize(
    ("pieces", "handed_on", "last"),
    [
        ([b"one\n", b"two"], b"one\ntwo", b""),
        ([b"one\nerror: mine\n", b"more\n"], b"one\nerror: mine\nmore\n", b""),
        (
            [b"err\n", b"command terminated with exit code 7\n"],
            b"err\n",
            b"command terminated with exit code 7\n",
        ),
        ([b"error: mine\nerror: of kubectl\n"], b"error: mine\n", b"error: of kubectl\n"),
        ([b"error: continue?"], b"error: continue?", b""),
    ],
    ids=["its own", "looked like kubectl's", "exit code", "an error", "a question"],
)
def test_only_kubectls_last_line_is_held_back(pieces: list[bytes], handed_on: bytes, last: bytes) -> None:
    got: list[bytes] = []
    stderr = Stderr(got.append)
    for piece in pieces:
        stderr.take(piece)

    assert (b"".join(got), stderr.last) == (handed_on, last)


@pytest.mark.parametrize(
    ("code", "last", "outcome"),
    [
        (0, b"", 0),
        (7, b"command terminated with exit code 7\n", 7),
        (130, b"command terminated with exit code 130\n", 130),
    ],
)
def test_the_exit_code_is_the_commands(server: Scripted, code: int, last: bytes, outcome: int) -> None:
    assert terminal.outcome(server.api(), PODS, PLACE, code, last) == outcome
    assert server.asked == []


@pytest.mark.parametrize(
    ("said", "code", "what", "why"),
    [
        (
            f'{OCI}"nosuch": executable file not found in $PATH: unknown',
            127,
            "The command was not found in container app of pod web-1.",
            'exec: "nosuch": executable file not found in $PATH',
        ),
        (
            f'{OCI}"/x": stat /x: no such file or directory: unknown',
            127,
            "The command was not found in container app of pod web-1.",
            'exec: "/x": stat /x: no such file or directory',
        ),
        (
            f'{OCI}"/etc": permission denied: unknown',
            126,
            "The command cannot be run in container app of pod web-1.",
            'exec: "/etc": permission denied',
        ),
    ],
    ids=["a name", "a path", "a folder"],
)
def test_a_command_that_cannot_start_ends_as_in_a_shell(
    server: Scripted, said: str, code: int, what: str, why: str
) -> None:
    with pytest.raises(Failure) as failed:
        terminal.outcome(server.api(), PODS, PLACE, 1, f"error: Internal error occurred: {said}\n".encode())

    assert (failed.value.exit_code, failed.value.what, failed.value.why) == (code, what, why)


def test_a_broken_connection_says_what_kubectl_said(server: Scripted) -> None:
    live = pod("web-1")
    live["status"]["containerStatuses"][0]["containerID"] = PLACE.id
    server.answers = [listed(live)]

    with pytest.raises(Failure, match="ended before the command did") as failed:
        terminal.outcome(server.api(), PODS, PLACE, 1, b"error: websocket: close 1006\n")

    assert failed.value.why == "websocket: close 1006"


def test_a_simulated_container_without_id_still_runs() -> None:
    live = pod("web-1")
    del live["status"]["containerStatuses"][0]["containerID"]

    assert terminal.lost([live], chosen(live)) is None


def test_a_command_killed_with_its_container_says_so(server: Scripted) -> None:
    running, restarted = pod("web-1"), pod("web-1")
    running["status"]["containerStatuses"][0]["containerID"] = PLACE.id
    last = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    restarted["status"]["containerStatuses"][0] |= {"containerID": "containerd://2", "lastState": last}
    # The kubelet tells it only at the second look.
    server.answers = [listed(running), listed(restarted)]

    with pytest.raises(Failure, match="Container app of pod web-1 ended while") as failed:
        terminal.outcome(server.api(), PODS, PLACE, 137, b"command terminated with exit code 137\n")

    assert failed.value.why == "OOMKilled, exit code 137."


@pytest.mark.parametrize("live", [[], [pod("web-1", deletionTimestamp="1")]], ids=["gone", "going"])
def test_a_removed_pod_is_named(live: list[dict[str, Any]]) -> None:
    failure = terminal.lost(live, PLACE)
    assert failure
    assert failure.what == "Pod web-1 was removed while the command ran."


def listed(*pods: dict[str, Any]) -> Answer:
    return Answer(200, json.dumps({"metadata": {"resourceVersion": "1"}, "items": pods}).encode())
