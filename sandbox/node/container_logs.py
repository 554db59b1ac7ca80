"""What a container that never ran would have logged: decided from its pod's status and annotations alone."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.preparing import FILES

BEHAVE = "sandbox.lookit.org/behave"
CONTAINER = "sandbox.lookit.org/container"
TEXT = "sandbox.lookit.org/logs"
STEP = datetime.timedelta(milliseconds=20)
# What a kubelet says for some reasons.
WAITING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
Object = Mapping[str, Any]


class NoLogs(Exception):  # noqa: N818 - what a kubelet answers with 400
    """There is nothing to read; the text is the kubelet's."""


@dataclass(frozen=True)
class Line:
    """One line and when it was written."""

    time: datetime.datetime
    text: str


@dataclass(frozen=True)
class Run:
    """One run of a container: its lines, and whether it is still going on."""

    lines: Sequence[Line]
    running: bool


def run_of(pod: Object, container: str, *, previous: bool) -> Run:
    """What one container of `pod` wrote in its latest run, or with `previous` in the one before.

    Raises:
        NoLogs: it has not run, or not twice.

    """
    state = _state(pod, container, _status(pod, container), previous=previous)
    began = _time(state.get("startedAt"))
    texts = _texts(pod, container, failed=state.get("exitCode", 0) != 0)
    lines = [Line(began + STEP * number, text) for number, text in enumerate(texts)]
    return Run(lines, running="finishedAt" not in state)


def _status(pod: Object, container: str) -> Object:
    statuses = pod.get("status", {})
    for status in (*statuses.get("containerStatuses", ()), *statuses.get("initContainerStatuses", ())):
        if status["name"] == container:
            found: Object = status
            return found
    raise _waits(pod, container, "ContainerCreating")


def _state(pod: Object, container: str, status: Object, *, previous: bool) -> Object:
    """The `running` or `terminated` state whose output is meant, as a kubelet chooses it."""
    last: Object | None = status.get("lastState", {}).get("terminated")
    if previous:
        if not last:
            name = pod["metadata"]["name"]
            raise NoLogs(f'previous terminated container "{container}" in pod "{name}" not found')
        return last
    state = status.get("state", {})
    if now := state.get("running") or state.get("terminated") or last:
        found: Object = now
        return found
    raise _waits(pod, container, state.get("waiting", {}).get("reason", "ContainerCreating"))


def _waits(pod: Object, container: str, reason: str) -> NoLogs:
    said = WAITING.get(reason, reason)
    return NoLogs(f'container "{container}" in pod "{pod["metadata"]["name"]}" is waiting to start: {said}')


def _texts(pod: Object, container: str, *, failed: bool) -> list[str]:
    annotations = pod["metadata"].get("annotations", {})
    first = pod["spec"]["containers"][0]["name"]
    if TEXT in annotations and container == annotations.get(CONTAINER, first):
        return str(annotations[TEXT]).splitlines()
    start = _script(container) or ["started"]
    if not failed:
        return start
    behave = str(annotations.get(BEHAVE, ""))
    return _script(f"{container}.{behave}") or [*start[:1], *_script(behave)]


def _script(name: str) -> list[str]:
    path: Path = FILES / "logs" / f"{name}.log"
    return path.read_text().splitlines() if path.exists() else []


def _time(text: Any) -> datetime.datetime:
    if not text:
        return datetime.datetime.now(datetime.UTC)
    return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
