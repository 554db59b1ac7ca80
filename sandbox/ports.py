"""Ports: every service of a sandbox keeps the one it was given, and no two sandboxes get the same."""

import json
import random
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox import processes
from sandbox.binaries import cache_folder
from sandbox.state import State, locked
from tasks.lib.errors import Failure
from tasks.lib.files import write_atomically

# Below the range that Linux takes ports for outgoing connections from, so that no client sits on one.
RANGE = range(20000, 32000)


def assign(state: State, services: Sequence[str]) -> dict[str, int]:
    """Give each of `services` a port, and return the ports of all services by name.

    Those that have one keep it, but where nothing of the sandbox runs and another program took the port.
    """
    ledger = cache_folder() / "ports.json"
    with locked(ledger.with_suffix(".lock"), "Waiting for another sandbox that is choosing its ports …"):
        taken = _still_used(_read(ledger))
        ports = {name: int(port) for name, port in _read(state.ports).items()}
        at_rest = not any(processes.owned_by(state.folder))
        for service in services:
            if service not in ports or (at_rest and not _is_free(ports[service])):
                ports[service] = free_port({int(port) for port in taken} | set(ports.values()))
        _write(state.ports, ports)
        mine = {str(port): str(state.folder) for port in ports.values()}
        _write(ledger, {**taken, **mine})
    return ports


def free_port(taken: Iterable[int], among: Sequence[int] = ()) -> int:
    """A port of loopback, of `among` or else of RANGE, that nobody listens on and that is not in `taken`."""
    avoid, among = set(taken), among or RANGE
    for port in random.sample(among, len(among)):
        if port not in avoid and _is_free(port):
            return port
    why = f"All of {among[0]} to {among[-1]} are taken."
    next_step = "End sandboxes that are not needed: `./inv sandbox.down` in their checkouts."
    raise Failure("No port is free for the sandbox.", why, next_step)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _still_used(ledger: Mapping[str, object]) -> dict[str, object]:
    """Leave out the ports of sandboxes whose folder is gone."""
    return {port: folder for port, folder in ledger.items() if (Path(str(folder)) / "ports.json").exists()}


def _read(path: Path) -> dict[str, Any]:
    """What is in `path`; nothing where it is missing or damaged: then ports are chosen again."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _write(path: Path, values: Mapping[str, object]) -> None:
    write_atomically(path, json.dumps(values, indent=1).encode())
