"""The sandbox's image registry: docker-registry, the program of others, started when a pipeline pushes.

Debian and Ubuntu have it; where it is called `registry`, as its makers do, that one is taken.
"""

import json
import shutil
import time
from pathlib import Path

from sandbox import health, ports
from sandbox.components import Component, Probe, read_plan, write_plan
from sandbox.state import State, locked
from sandbox.watching import BUSY, ensure_supervisor
from tasks.lib import signals
from tasks.lib.background import call
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.files import write_atomically

REGISTRY = "registry"
PROGRAMS = ("docker-registry", "registry")
LOOK_AGAIN = 0.05


def address(here: State) -> str:
    """Where it listens, as host:port; empty where it was never started."""
    known = {component.name: component for component in read_plan(here.plan)}
    return f"127.0.0.1:{known[REGISTRY].port}" if REGISTRY in known else ""


def ensure(here: State, seconds: float) -> str:
    """Start it unless it runs, and return where it listens.

    Raises:
        Failure: it is not installed.
        TimedOut: it was not well in time.

    """
    with locked(here.folder / "up.lock", BUSY):
        wanted = component(here, program(), ports.assign(here, [REGISTRY])[REGISTRY])
        write_atomically(here.folder / REGISTRY / "config.yml", configuration(here, wanted.port).encode())
        others = [one for one in read_plan(here.plan) if one.name != REGISTRY]
        write_plan(here.plan, [*others, wanted])
        ensure_supervisor(here)
    deadline = time.monotonic() + seconds
    while fault := call(health.check, wanted.probe):
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The sandbox's registry is not well after {seconds:g} s.", fault,
                f"./inv sandbox.logs {REGISTRY}",
            )  # fmt: skip
        signals.sleep(LOOK_AGAIN)
    return address(here)


def program() -> Path:
    """The registry's program.

    Raises:
        Failure: it is not installed.

    """
    found = [path for name in PROGRAMS if (path := shutil.which(name))]
    if not found:
        raise Failure(
            "The sandbox has no registry to push to: docker-registry is not installed.",
            "Images are pushed to this machine only, and deployed by their digest from there.",
            "Debian, Ubuntu: apt-get install docker-registry; or name a registry on this machine: "
            "INVOKE_SANDBOX_REGISTRY=127.0.0.1:5000.",
        )
    return Path(found[0])


def component(here: State, found: Path, port: int) -> Component:
    """The registry as a server of the sandbox."""
    argv = (str(found), "serve", str(here.folder / REGISTRY / "config.yml"))
    return Component(REGISTRY, argv, Probe(f"http://127.0.0.1:{port}/v2/"), port)


def configuration(here: State, port: int) -> str:
    """Its configuration: images lie in the sandbox's folder, and may be deleted."""
    return (
        "version: 0.1\n"
        "log: {level: warn}\n"
        "storage:\n"
        f"  filesystem: {{rootdirectory: {json.dumps(str(here.folder / REGISTRY / 'content'))}}}\n"
        "  delete: {enabled: true}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
