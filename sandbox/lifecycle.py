"""Bringing a sandbox up and down."""

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import binaries, bootstrap, controlplane, preparing, processes, seed, supervisor
from sandbox.cloud import sql
from sandbox.components import STORAGE, read_plan, write_plan
from sandbox.containers import equipment, node
from sandbox.containers.equipment import Equipment, Node
from sandbox.overlay import spare_this_machine
from sandbox.state import State, locked, stored
from sandbox.watching import BUSY, Status, ensure_supervisor, running, status
from tasks.lib import console, signals
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.files import real
from tasks.lib.render.kustomize import kubectl

if TYPE_CHECKING:
    from sandbox.controlplane import Cluster
    from tasks.lib.settings.model import Environment, Settings

LOOK_AGAIN = 0.25
CRASHES_TO_GIVE_UP = 3
LINES_OF_LOG_TO_SHOW = 15


def state(settings: "Settings") -> State:
    """The sandbox that `settings` mean."""
    return State(real(settings.root / settings.sandbox.state))


def up(
    settings: "Settings",
    environments: Sequence[str] = (),
    *,
    containers: bool = False,
    commit: str = "",
    source: Path | None = None,
) -> list[Status]:
    """Bring the sandbox up for `environments` (all when empty); what runs already is left as it is.

    With `containers` their clusters get a real node beside the simulated ones, and the environments' pods run
    there from then on. A cluster that has such a node keeps it, and gets the application's image of `commit`
    (by default that of the checkout): the sandbox's own application, or with `source` that checkout of
    lookit-api. Returns all components, which are healthy then.

    Raises:
        UsageError: an environment is not known, or the folder holds something else than a sandbox.
        Failure: a program could not be installed, or a component keeps ending.
        TimedOut: a component did not become healthy in time.

    """
    if sys.platform != "linux":
        raise Failure(
            "The sandbox runs on Linux only.", f"This is {sys.platform}.", "Use a Linux machine or container."
        )
    spare_this_machine(os.environ)
    wanted = [settings.environment(name) for name in environments or settings.environments]
    here = state(settings)
    _require_own(here)
    with_node = [one for one in wanted if containers or node.has_one(here, one.cluster)]
    real = equipment.obtain(settings, here.folder, commit, source) if with_node else None
    equipped = {one.cluster: real for one in with_node if real}
    module = preparing.FILES / "controlplane"
    programs = binaries.obtain(module, binaries.cache_folder())
    here.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(here.lock, BUSY):
        clusters, nodes = _prepare(settings, here, wanted, programs, equipped)
        ensure_supervisor(here)
        _await_healthy(here, settings.time_limits.sandbox)
        for cluster in clusters:
            bootstrap.furnish(kubectl(settings), cluster)
        for environment, real_node in nodes:
            namespaces = [environment.namespace] if containers else []
            _furnish(here, environment, real_node, namespaces, settings.time_limits.sandbox)
        storage = f"http://127.0.0.1:{stored(here.ports)[STORAGE]}"
        for environment in wanted:
            own = environment.buckets
            for bucket in filter(None, (own.archives, own.private, settings.pipeline.reports)):
                bootstrap.create_bucket(storage, environment.project, bucket)
        seed.sow(settings, here, wanted)
    return status(here)


def _furnish(
    here: State, environment: "Environment", real_node: Node, namespaces: Sequence[str], time_limit: float
) -> None:
    """Make a real node ready, with the environment's database; the pods of `namespaces` then run there."""
    from sandbox.containers import furnishing

    furnishing.furnish(real_node, time_limit)
    if environment.database.instance:
        login = sql.login(here.google, environment.database.project, environment.database.name)
        furnishing.start_database(real_node, login, time_limit)
    for namespace in namespaces:
        furnishing.run_here(real_node, namespace)


def down(here: State, *, keep_data: bool) -> int:
    """End all processes of the sandbox, and remove its folder unless `keep_data`; returns their number."""
    if not here.folder.exists():
        return 0
    _require_own(here)
    with locked(here.lock, BUSY):
        ended = _end_all(here)
        node.clear(here)
        shutil.rmtree(here.processes, ignore_errors=True)
        if not keep_data:
            _remove(here)
    return ended


def _remove(here: State) -> None:
    """Remove the folder, the lock last: it marks what an interrupted removal left as a sandbox's."""
    for path in here.folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != here.lock:
            path.unlink()
    shutil.rmtree(here.folder)


def _require_own(here: State) -> None:
    """Refuse a folder with anything else in it: `down` removes all of it."""
    is_sandbox = here.lock.exists() or here.plan.exists()
    if not is_sandbox and here.folder.is_dir() and any(here.folder.iterdir()):
        raise UsageError(
            f"{here.folder} holds something else than a sandbox.",
            "sandbox.down would remove all of it.",
            "Name a folder of its own in sandbox.state.",
        )


def _prepare(
    settings: "Settings",
    here: State,
    wanted: "Sequence[Environment]",
    programs: Mapping[str, Path],
    equipped: Mapping[str, Equipment],
) -> "tuple[list[Cluster], list[tuple[Environment, Node]]]":
    """Write all files and the plan; returns the clusters of `wanted`, and the real nodes among theirs."""
    given = preparing.assign_ports(here, [environment.cluster for environment in wanted])
    preparing.write_google(here, given)
    versions = {one.name: one.version for one in binaries.programs(preparing.FILES / "controlplane")}
    clusters, nodes = [], []
    components = preparing.google_components(here, given)
    for environment in wanted:
        quota = settings.sandbox.etcd_quota_bytes
        cluster = preparing.write_cluster(here, environment.cluster, given, programs, quota)
        preparing.register(here, environment, cluster, versions["kube-apiserver"])
        if cluster.name in equipped:
            nodes.append((environment, node.add(here, cluster, equipped[cluster.name], environment.database)))
            cluster = nodes[-1][1].cluster
        clusters.append(cluster)
        components += controlplane.components(cluster)
    components += [one for _, real_node in nodes for one in node.components(real_node)]
    names = {component.name for component in components}
    others = [component for component in read_plan(here.plan) if component.name not in names]
    write_plan(here.plan, components + others)
    return clusters, nodes


def _end_all(here: State) -> int:
    watcher = running(here, supervisor.NAME)
    before = sum(1 for _ in processes.owned_by(here.folder))
    if watcher:
        processes.end([watcher], grace=20.0)
    # The supervisor ends its components; what it did not reach carries the sandbox's mark.
    while left := list(processes.owned_by(here.folder)):
        processes.end(left)
    return before


def _await_healthy(here: State, time_limit: float) -> None:
    deadline = time.monotonic() + time_limit
    told: set[str] = set()
    before: dict[str, int] = {}
    revivals = 0
    while unhealthy := [one for one in status(here) if one.problem]:
        for one in unhealthy:
            _check_crashes(here, one, before)
        if not running(here, supervisor.NAME):  # the one that was to read the plan was just ending
            if revivals == CRASHES_TO_GIVE_UP:
                raise _keeps_ending(here, supervisor.NAME)
            ensure_supervisor(here)
            revivals += 1
        if time.monotonic() > deadline:
            raise _not_healthy(here, unhealthy[-1], time_limit)
        told |= _tell_waiting(unhealthy, told)
        signals.sleep(LOOK_AGAIN)


def _not_healthy(here: State, one: Status, time_limit: float) -> TimedOut:
    what = f"The sandbox's {one.name} is not healthy after {time_limit:g} s."
    return TimedOut(what, f"{one.problem}\n{_tail(here.log(one.name))}", f"./inv sandbox.logs {one.name}")


def _tell_waiting(unhealthy: Sequence[Status], told: set[str]) -> set[str]:
    """Name each group of components that is waited for once."""
    groups = {one.name.partition(".")[0] for one in unhealthy}
    for group in sorted(groups - told):
        console.say(f"Starting {group} …")
    return groups


def crashes(one: Status, before: dict[str, int]) -> int:
    """How often a component was started since `before`, which notes the starts that were first seen.

    A new supervisor counts from the start again.
    """
    before[one.name] = min(before.get(one.name, one.starts), one.starts)
    return one.starts - before[one.name]


def _check_crashes(here: State, one: Status, before: dict[str, int]) -> None:
    if crashes(one, before) >= CRASHES_TO_GIVE_UP:
        raise _keeps_ending(here, one.name)


def _keeps_ending(here: State, name: str) -> Failure:
    return Failure(
        f"The sandbox's {name} keeps ending.",
        _tail(here.log(name)),
        f"./inv sandbox.logs {name} shows all of its log; ./inv sandbox.down removes the sandbox.",
    )


def _tail(log: Path) -> str:
    if not log.exists():
        return "It has written no log."
    return "\n".join(log.read_text(errors="replace").splitlines()[-LINES_OF_LOG_TO_SHOW:])
