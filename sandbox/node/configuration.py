"""The part of a kubelet that gives a pod its ConfigMaps and Secrets: a pod whose objects are missing waits.

kwok starts a pod once its condition PodReadyToStartContainers is True (sandbox/stages); this sets it. The
messages are the kubelet's: pkg/kubelet/kubelet_pods.go, pkg/volume/{configmap,secret,projected}.
"""

import datetime
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import requests

from sandbox.containers.place import NODE
from sandbox.node.api import Api, Object

log = logging.getLogger(__name__)

PODS = "/api/v1/pods"
PLURALS = {"configmap": "configmaps", "secret": "secrets"}
TITLES = {"configmap": "ConfigMap", "secret": "Secret"}
CONDITION = "PodReadyToStartContainers"
BEHAVE = "sandbox.lookit.org/behave"
# Their stages do not wait for the condition: they never come to where it counts.
NEVER_START = frozenset({"image-pull-error", "create-config-error", "mount-error"})
LOOK_AGAIN = 1.0
Look = Callable[[str, str], Object | None]  # by kind and name


@dataclass(frozen=True)
class Problems:
    """What keeps a pod from starting: the kubelet's messages, by volume and by (init) container."""

    volumes: Mapping[str, str] = field(default_factory=dict)  # while there are any, no container is created
    containers: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.volumes or self.containers)


def problems_of(pod: Object, look: Look) -> Problems:
    """What a pod names and its namespace does not have."""
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    volumes = {v["name"]: text for v in spec.get("volumes", ()) if (text := _of_volume(v, look))}
    if volumes:
        return Problems(volumes=volumes)
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    found = {c["name"]: text for c in containers if (text := _of_container(c, namespace, look))}
    return Problems(containers=found)


def _of_volume(volume: Object, look: Look) -> str:
    """Why a volume cannot be mounted."""
    sources = [
        (kind.lower(), one[kind])
        for one in (volume, *volume.get("projected", {}).get("sources", ()))
        for kind in ("secret", "configMap")
        if kind in one
    ]
    found = [text for kind, source in sources if (text := _of_files(kind, source, look))]
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]" if found else ""


def _of_files(kind: str, source: Object, look: Look) -> str:
    if source.get("optional"):
        return ""
    name = source.get("name") or source["secretName"]
    thing = look(kind, name)
    if thing is None:
        return f'{kind} "{name}" not found'
    keys = {*thing.get("data", {}), *thing.get("binaryData", {})}
    absent = [item["key"] for item in source.get("items", ()) if item["key"] not in keys]
    word = "config" if kind == "configmap" else kind
    return f"references non-existent {word} key: {absent[0]}" if absent else ""


def _of_container(container: Object, namespace: str, look: Look) -> str:
    """Why a container cannot be created: the first problem, as a kubelet meets them."""
    for kind, source, key in _sources(container):
        if source.get("optional"):
            continue
        name = source.get("name", "")
        thing = look(kind, name)
        if thing is None:
            return f'{kind} "{name}" not found'
        if key and key not in thing.get("data", {}):
            return f"couldn't find key {key} in {TITLES[kind]} {namespace}/{name}"
    return ""


def _sources(container: Object) -> Iterator[tuple[str, Object, str]]:
    for source in container.get("envFrom", ()):
        for kind, name in (("configmap", "configMapRef"), ("secret", "secretRef")):
            if name in source:
                yield kind, source[name], ""
    for variable in container.get("env", ()):
        for kind, name in (("configmap", "configMapKeyRef"), ("secret", "secretKeyRef")):
            if reference := variable.get("valueFrom", {}).get(name):
                yield kind, reference, reference["key"]


def status_of(pod: Object, problems: Problems, now: str) -> dict[str, Any]:
    """The status that a pod gets, as a patch."""
    conditions = [_condition(CONDITION, now, holds=not problems)]
    if not problems:
        return {"conditions": conditions}
    spec = pod["spec"]
    first, second = spec.get("initContainers", []), spec["containers"]
    failing = next((number for number, one in enumerate(first) if one["name"] in problems.containers), None)
    waiting = "PodInitializing" if first else "ContainerCreating"
    if problems.volumes:
        states = [_waiting(waiting) for _ in first], [_waiting(waiting) for _ in second]
    elif failing is not None:
        states = _initial_states(first, failing, problems, now), [_waiting("PodInitializing") for _ in second]
    else:
        states = [_completed(now) for _ in first], [_state(one, problems, now) for one in second]
    conditions += [_condition(name, now, holds=False) for name in ("ContainersReady", "Ready")]
    conditions += [_condition("Initialized", now, holds=failing is None and not problems.volumes)]
    return {
        "conditions": conditions,
        "phase": "Pending",
        "hostIP": "127.0.0.1",
        "startTime": pod.get("status", {}).get("startTime", now),
        "initContainerStatuses": [_status(*pair) for pair in zip(first, states[0], strict=True)],
        "containerStatuses": [_status(*pair) for pair in zip(second, states[1], strict=True)],
    }


def _initial_states(containers: list[Object], failing: int, problems: Problems, now: str) -> list[Object]:
    """Those before the one that fails have ended, those after it have not begun."""
    return [
        _completed(now) if number < failing
        else _state(one, problems, now) if number == failing
        else _waiting("PodInitializing")
        for number, one in enumerate(containers)
    ]  # fmt: skip


def _state(container: Object, problems: Problems, now: str) -> Object:
    if text := problems.containers.get(container["name"]):
        return _waiting("CreateContainerConfigError", text)
    return {"running": {"startedAt": now}}


def _waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def _completed(now: str) -> Object:
    return {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}


def _status(container: Object, state: Object) -> dict[str, Any]:
    running = "running" in state
    ready = running or "terminated" in state
    names = {"name": container["name"], "image": container["image"], "imageID": ""}
    return {**names, "ready": ready, "started": running, "restartCount": 0, "state": state}


def _condition(name: str, now: str, *, holds: bool) -> dict[str, str]:
    return {"type": name, "status": str(holds), "lastTransitionTime": now}


def events_of(pod: Object, problems: Problems) -> list[tuple[str, str, str]]:
    """The warnings about a pod: reason, message and the field that each is about."""
    mounts = [
        ("FailedMount", f'MountVolume.SetUp failed for volume "{name}" : {text}', "")
        for name, text in problems.volumes.items()
    ]
    initial = {one["name"] for one in pod["spec"].get("initContainers", ())}
    fields = {name: "initContainers" if name in initial else "containers" for name in problems.containers}
    failed = [
        ("Failed", f"Error: {text}", f"spec.{fields[name]}{{{name}}}")
        for name, text in problems.containers.items()
    ]
    return mounts + failed


def is_due(pod: Object) -> bool:
    """Whether a pod has a simulated node and has not started."""
    status, metadata = pod.get("status", {}), pod["metadata"]
    started = {one["type"] for one in status.get("conditions", ()) if one["status"] == "True"}
    return (
        pod["spec"].get("nodeName", NODE) != NODE
        and status.get("phase") == "Pending"
        and "deletionTimestamp" not in metadata
        and CONDITION not in started
        and metadata.get("annotations", {}).get(BEHAVE) not in NEVER_START
    )


class Starter:
    """Lets pods start whose configuration is there, and checks the others again and again."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._inbox: queue.SimpleQueue[Object] = queue.SimpleQueue()
        self._stuck: dict[str, tuple[Object, Problems | None]] = {}  # None: not known yet

    def run(self) -> None:
        """Run for ever."""
        threading.Thread(target=self._listen, daemon=True).start()
        looked = time.monotonic()
        while True:
            try:
                pod = self._inbox.get(timeout=LOOK_AGAIN)
                if pod["metadata"]["uid"] not in self._stuck:
                    self._look(pod)
            except queue.Empty:
                pass
            if time.monotonic() - looked >= LOOK_AGAIN:
                self._look_again()
                looked = time.monotonic()

    def _listen(self) -> None:
        for pod in self._api.follow(PODS):
            if is_due(pod):
                self._inbox.put(pod)

    def _look_again(self) -> None:
        for uid, (pod, _) in list(self._stuck.items()):
            try:
                latest = self._api.get(_path(pod))
            except requests.RequestException as error:
                log.warning("pod %s: %s", pod["metadata"]["name"], error)
                continue
            if latest and latest["metadata"]["uid"] == uid and is_due(latest):
                self._look(latest)
            else:
                del self._stuck[uid]

    def _look(self, pod: Object) -> None:
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        _, known = self._stuck.setdefault(uid, (pod, None))
        try:
            problems = problems_of(pod, self._lookup(pod["metadata"]["namespace"]))
            if problems != known:
                self._tell(pod, problems)
        except requests.RequestException as error:  # gone, or the server is away: looked at again
            log.warning("pod %s: %s", name, error)
            return
        if problems:
            self._stuck[uid] = pod, problems
        else:
            del self._stuck[uid]

    def _lookup(self, namespace: str) -> Look:
        """Asks for each object once: Lookit's containers name the same Secret in fifty variables."""

        @cache
        def look(kind: str, name: str) -> Object | None:
            return self._api.get(f"/api/v1/namespaces/{namespace}/{PLURALS[kind]}/{name}")

        return look

    def _tell(self, pod: Object, problems: Problems) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for reason, message, path in events_of(pod, problems):
            self._api.warn(pod, reason, message, path)
        self._api.patch(f"{_path(pod)}/status", {"status": status_of(pod, problems, now)})


def _path(pod: Object) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
