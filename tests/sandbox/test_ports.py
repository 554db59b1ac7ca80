"""Ports stay, and no two sandboxes share one."""

import os
import socket
from pathlib import Path

import pytest

from sandbox import ports
from sandbox.state import State
from tasks.lib.errors import Failure
from tests.ports import mine


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_service_keeps_its_port(tmp_path: Path) -> None:
    first = ports.assign(State(tmp_path), ["a", "b"])

    assert ports.assign(State(tmp_path), ["b", "c"]).items() >= first.items()


def test_two_sandboxes_that_are_not_up_yet_get_different_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda _port: True)
    monkeypatch.setattr(ports, "RANGE", range(20000, 20006))

    one = ports.assign(State(tmp_path / "one"), ["a", "b"])
    two = ports.assign(State(tmp_path / "two"), ["a", "b"])

    assert len({*one.values(), *two.values()}) == 4


def test_ports_of_a_removed_sandbox_are_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda _port: True)
    monkeypatch.setattr(ports, "RANGE", range(20000, 20001))
    ports.assign(State(tmp_path / "one"), ["a"])
    (tmp_path / "one" / "ports.json").unlink()

    assert ports.assign(State(tmp_path / "two"), ["a"]) == {"a": 20000}


def test_a_port_that_somebody_listens_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "RANGE", range(port, port + 1))

        with pytest.raises(Failure, match="No port is free for the sandbox."):
            ports.free_port(())


def test_a_stopped_sandbox_gives_up_taken_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "RANGE", mine(os.environ.get("PYTEST_XDIST_WORKER", "main")))
    port = ports.assign(State(tmp_path), ["a", "b"])["a"]
    with socket.create_server(("127.0.0.1", port)):
        after = ports.assign(State(tmp_path), ["a", "b"])

    assert after["a"] not in {port, after["b"]}
