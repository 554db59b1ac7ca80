"""The sandbox's image registry: Docker's own, started when a pipeline pushes.

Debian and Ubuntu call the program docker-registry, its makers `registry`.
"""

import json
import shutil
import time
from pathlib import Path

from sandbox import ports
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
        TimedOut: it was not healthy in time.

    """
    with locked(here.lock, BUSY):
        wanted = component(here, program(), ports.assign(here, [REGISTRY])[REGISTRY])
        write_atomically(here.folder / REGISTRY / "config.yml", configuration(here, wanted.port).encode())
        others = [one for one in read_plan(here.plan) if one.name != REGISTRY]
        write_plan(here.plan, [*others, wanted])
        ensure_supervisor(here)
    deadline = time.monotonic() + seconds
    while problem := call(wanted.probe.problem):
        if time.monotonic() > deadline:
            what = f"The sandbox's registry is not healthy after {seconds:g} s."
            raise TimedOut(what, problem, f"./inv sandbox.logs {REGISTRY}")
        signals.sleep(LOOK_AGAIN)
    return address(here)


def program() -> Path:
    """The registry's program; a Failure where it is not installed."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    raise Failure(
        "The sandbox has no registry to push to: docker-registry is not installed.",
        "Images are pushed to this machine only, and deployed by their digest from there.",
        "Debian, Ubuntu: apt-get install docker-registry; or name a registry on this machine: "
        "INVOKE_SANDBOX_REGISTRY=127.0.0.1:5000.",
    )


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
