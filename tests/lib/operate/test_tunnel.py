"""Which pod a tunnel leads to, and what its end means."""

import io
import subprocess
from typing import Any

import pytest

from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.operate import tunnel
from tasks.lib.operate.tunnel import Door, Tunnel
from tests.builders import checked_in_settings

STAGING = checked_in_settings().environment("staging")
SERVICE = {"metadata": {"name": "staging-gcloud-sqlproxy"},
           "spec": {"ports": [{"port": 5432, "targetPort": "sqlproxy"}]}}  # fmt: skip
DOOR = Door("proxy-1", 5432)


def pod(name: str, *, ready: bool = True, created: str = "2026-11-30T02:00:00Z", **metadata: Any) -> Any:
    state = {"type": "Ready", "status": "True" if ready else "False", "message": "containers are starting"}
    ports = [{"name": "health", "containerPort": 9090}, {"name": "sqlproxy", "containerPort": 5433}]
    return {
        "metadata": {"name": name, "creationTimestamp": created, **metadata},
        "spec": {"containers": [{"name": "proxy", "ports": ports}]},
        "status": {"phase": "Running", "conditions": [state]},
    }


def opened(output: bytes) -> Tunnel:
    made = Tunnel(io.BytesIO(output))
    made.end.wait()
    return made


def test_the_newest_ready_pod_is_taken() -> None:
    pods = [
        pod("old"),
        pod("new", created="2026-11-30T03:00:00Z"),
        pod("starting", ready=False, created="2026-11-30T04:00:00Z"),
        pod("ending", created="2026-11-30T05:00:00Z", deletionTimestamp="2026-11-30T05:01:00Z"),
    ]

    assert tunnel.choose(SERVICE, pods, STAGING) == Door("new", 5433)


@pytest.mark.parametrize(
    ("port", "number"),
    [({"port": 1, "targetPort": "sqlproxy"}, 5433), ({"port": 1, "targetPort": 7}, 7), ({"port": 8}, 8)],
)
def test_a_services_port_leads_to_the_containers(port: Any, number: int) -> None:
    assert tunnel.port_of(pod("web"), port) == number


@pytest.mark.parametrize(
    ("pods", "why"), [([], "It has no pods."), ([pod("a", ready=False)], "pod a: containers are starting")]
)
def test_without_a_ready_pod_the_reason_is_told(pods: Any, why: str) -> None:
    with pytest.raises(Failure, match="No pod behind Service staging-gcloud-sqlproxy is ready") as raised:
        tunnel.choose(SERVICE, pods, STAGING)

    assert raised.value.why == why


def test_the_port_is_what_kubectl_says() -> None:
    made = opened(b"Forwarding from 127.0.0.1:40123 -> 5432\nHandling connection for 40123\n")

    assert made.await_open(1)
    assert (made.port, list(made.said)) == (40123, [])


def test_a_port_that_is_in_use_is_named() -> None:
    said = b"Unable to listen on port 5433: bind: address already in use\nerror: unable to listen\n"

    failure = tunnel.not_opened(opened(said), DOOR, 5433, 60)

    assert isinstance(failure, UsageError)
    assert failure.what == "Port 5433 of this machine is in use."


def test_kubectls_own_words_say_why_none_opened() -> None:
    failure = tunnel.not_opened(opened(b"error: pods proxy-1 is forbidden\n"), DOOR, 0, 60)

    assert failure.what == "A tunnel to pod proxy-1 could not be opened."
    assert failure.why == "error: pods proxy-1 is forbidden"


def test_a_tunnel_that_does_not_open_in_time_says_so() -> None:
    with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE) as silent:
        assert silent.stdout
        made = Tunnel(silent.stdout)
        is_open = made.await_open(0.1)
        failure = tunnel.not_opened(made, DOOR, 0, 0.1)
        silent.kill()

    assert not is_open
    assert isinstance(failure, TimedOut)


def test_a_lost_tunnel_says_what_happened() -> None:
    failure = opened(b"Forwarding from 127.0.0.1:1 -> 5\nerror: lost connection to pod\n").failure(DOOR)

    assert (failure.what, failure.why) == (
        "The tunnel to pod proxy-1 has ended.", "error: lost connection to pod",
    )  # fmt: skip
