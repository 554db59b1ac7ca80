"""Why something did not become ready: the pod's trouble, its last log lines, and the events about it."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib import signals
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.refusal import ApiError, Unreachable
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.rollout.diagnosis import container_to_blame
from tasks.lib.deploy.rollout.failure_rules import Trouble
from tasks.lib.deploy.rollout.logs import LINES_OF_EVIDENCE, last_lines
from tasks.lib.errors import Failure
from tasks.lib.printable import one_line

EVENTS_TO_SHOW: Final = 6
TROUBLES_TO_SHOW: Final = 4
SECONDS_FOR_A_LATE_EVENT: Final = 3.0
PAUSE: Final = 0.3
# Where events lie about objects of the whole cluster.
CLUSTER_WIDE: Final = "default"


@dataclass(frozen=True)
class Evidence:
    """What is known about a failure.

    Args:
        ref: the workload.
        reason: why it counts as failed.
        shown_by: what shows it, as `kubectl describe` takes it.
        pod: the pod whose log this is; empty without one.
        container: the container whose log this is.
        log: the last lines.
        events: what the cluster reported, the newest last.

    """

    ref: Ref
    reason: str
    shown_by: str
    pod: str
    container: str
    log: Sequence[str]
    events: Sequence[str]

    def failure(self, namespace: str) -> Failure:
        """The error that tells it all."""
        lines = [self.reason]
        if self.log:
            lines += [
                f"last lines of {self.pod}, container {self.container}:",
                *(f"  {one_line(line)}" for line in self.log),
            ]
        elif self.pod:
            lines.append(f"pod {self.pod}, container {self.container}, has no log.")
        if self.events:
            lines += ["events:", *(f"  {one_line(event)}" for event in self.events)]
        verb = "failed" if self.ref.is_job else "cannot become ready"
        look = f"kubectl -n {namespace} describe {self.shown_by}"
        return Failure(
            f"{self.ref} {verb}.",
            "\n".join(lines),
            f"Mend the cause and deploy again, or look closer: {look}",
        )


def gather(
    api: Api,
    ref: Ref,
    reason: str,
    workload: Json,
    found: Sequence[tuple[Trouble, Json | None]],
    pods: Sequence[Json],
    heard: Mapping[tuple[str, str], Iterable[str]],
) -> Evidence:
    """Collect what the cluster can still tell; a source that does not answer is left out.

    Args:
        api: the server.
        ref: the workload.
        reason: why it counts as failed; troubles say it more precisely.
        workload: the live object.
        found: its troubles, the one that decided first, each with the pod that shows it.
        pods: the workload's pods, for the log where no pod is singled out.
        heard: what containers of Jobs wrote, by pod and container, in case the pod is gone.

    """
    trouble, pod = next(((t, pod) for t, pod in found if pod), (None, None))
    if pod is None and all(t.kind == ref.kind for t, _ in found):
        pod = max(pods, key=lambda p: p["metadata"]["creationTimestamp"], default=None)
    container = (trouble.container_name if trouble else "") or (container_to_blame(pod) if pod else "")
    kind, name = (found[0][0].kind, found[0][0].name) if found else (ref.kind, ref.name)
    pod_name = pod["metadata"]["name"] if pod else ""
    log = last_lines(api, pod, container) if pod else []
    remembered = [*heard.get((pod_name, container), ())][-LINES_OF_EVIDENCE:]
    shown_by_pod = pod and kind == ref.kind and (log or not remembered)  # else the pod is gone
    return Evidence(
        ref,
        "\n".join(dict.fromkeys(str(t) for t, _ in found[:TROUBLES_TO_SHOW])) or reason,
        f"pod/{pod_name}" if shown_by_pod else f"{kind.lower()}/{name}",
        pod_name,
        container,
        log or remembered,
        events_about(api, [thing for thing in (workload, pod) if thing]),
    )


def events_about(api: Api, things: Sequence[Json]) -> list[str]:
    """Warnings about these objects, the newest last."""
    found: list[Json] = []
    for thing in things:
        metadata = thing["metadata"]
        namespace = metadata.get("namespace") or CLUSTER_WIDE
        try:
            items = events_of(api, namespace, metadata["uid"], "type=Warning")
        except (ApiError, Unreachable):
            continue
        except Failure:  # no token: none comes for the next either
            break
        found += items
    found.sort(
        key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or e["metadata"]["creationTimestamp"]
    )
    return [_event(event) for event in found[-EVENTS_TO_SHOW:]]


def has_completed(api: Api, namespace: str, uid: str) -> bool:
    """Whether an event says that a Job which is gone went well.

    Its controller sends that beside the Job's status, perhaps a moment later.
    """
    deadline = time.monotonic() + SECONDS_FOR_A_LATE_EVENT
    try:
        while not events_of(api, namespace, uid, "reason=Completed"):
            if time.monotonic() > deadline:
                return False
            signals.sleep(PAUSE)
    except ApiError:
        return False
    return True


def events_of(api: Api, namespace: str, uid: str, field: str) -> list[Json]:
    """The events about one object that a further field selector takes."""
    query = {"fieldSelector": f"involvedObject.uid={uid},{field}"}
    return api.list(f"/api/v1/namespaces/{namespace}/events", doing="list events", query=query)[0]


def _event(event: Json) -> str:
    count = event.get("count") or (event.get("series") or {}).get("count") or 1
    times = f" ({count} times)" if count > 1 else ""
    return f"{event.get('reason', '')}: {event.get('message', '')}{times}"
