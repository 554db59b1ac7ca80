"""What a deploy waits for, what it does not, and what would never become ready.

The last is refused before anything changes: otherwise the deploy would end half-way, perhaps after a
migration.  That are paused Deployments, suspended Jobs, and stuck Jobs of earlier deploys.
"""

import datetime
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.gke import Connection
from tasks.lib.console import spoken
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.rollout.diagnose import has_started
from tasks.lib.deploy.rollout.logs import pods_of_job
from tasks.lib.deploy.rollout.readiness import (
    BUILT_IN,
    RULES,
    State,
    condition,
    key_of,
    readiness,
    still_runs,
)
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.settings.deploy import Deploy

ADDRESSED: Final = frozenset({("", "Service"), ("networking.k8s.io", "Ingress")})
CLAIM: Final = ("", "PersistentVolumeClaim")
CLASS: Final = ("storage.k8s.io/v1", "StorageClass")
IMMEDIATE: Final = "Immediate"
NO_ADDRESS: Final = "deploy.addresses in invoke.yaml says whether to wait for addresses"
UNBOUND: Final = "its volume is bound when a pod first uses it"
UNREADY: Final = "unchanged, and not ready"
SILENT: Final = "it has no condition Ready; deploy.ready_kinds in invoke.yaml may name its kind"
Binding = Callable[[Json], str]


def may_be_awaited(ref: Ref, deploy: Deploy) -> bool:
    """Whether an object of this kind may have to be watched."""
    key = ref.group, ref.kind
    return deploy.addresses if key in ADDRESSED else key in RULES or ref.group not in BUILT_IN


def is_awaited(live: Json, deploy: Deploy, name: str, *, written: bool, binding: Binding) -> bool:
    """Whether a deploy waits until an object is ready; for unchanged workloads too.

    `name` has no prefix; `written` says whether this deploy wrote the object; `binding` returns the
    volumeBindingMode of a claim's class.
    """
    key = key_of(live)
    if key in ADDRESSED:
        return written and deploy.addresses
    if key == CLAIM:
        return written and binding(live) == IMMEDIATE
    if key[0] in BUILT_IN:
        return key in RULES
    return written and (_is_named(live, deploy, name) or bool(condition(live, "Ready")))


def left_alone(live: Json, *, written: bool) -> str:
    """Why an object that may not be ready is not waited for; empty where there is nothing to wait for."""
    key = key_of(live)
    if readiness(live).state is State.READY:
        return ""
    if key in ADDRESSED or key == CLAIM:
        return (NO_ADDRESS if key in ADDRESSED else UNBOUND) if written else ""
    if condition(live, "Ready"):
        return UNREADY
    return SILENT if written else ""


class Awaited:
    """What one deploy waits for, and what it left alone; `prefix` is what the overlay puts before names."""

    def __init__(self, connection: Connection, deploy: Deploy, prefix: str) -> None:
        self._deploy, self._prefix = deploy, prefix
        self._binding = partial(binding_of, connection)
        self._left: dict[str, list[Ref]] = {}

    def includes(self, step: Step, stored: Json | None) -> bool:
        """Whether to wait for an object; what is left alone although it may not be ready is noted."""
        live, name = stored or step.live, step.ref.name.removeprefix(self._prefix)
        if step.action is Action.SKIP or not live:
            return False
        if is_awaited(live, self._deploy, name, written=step.writes, binding=self._binding):
            return True
        if reason := left_alone(live, written=step.writes):
            self._left.setdefault(reason, []).append(step.ref)
        return False

    def left_in_words(self) -> list[str]:
        """What was not waited for, as sentences: the objects by the reason."""
        return [
            f"Not waited for: {', '.join(map(str, refs))} ({reason})." for reason, refs in self._left.items()
        ]


def binding_of(connection: Connection, claim: Json) -> str:
    """The volumeBindingMode of a claim's StorageClass; a missing one is told at once, so it is waited for.

    Empty where it may not be read.
    """
    kind, name = connection.kinds.get(CLASS), (claim.get("spec") or {}).get("storageClassName")
    if not kind or not name:
        return ""
    try:
        found = connection.api.get(kind.path(name=name), doing=f"read StorageClass {name}")
    except ApiError as error:
        if error.status not in {403, 404}:
            raise
        return IMMEDIATE if error.status == 404 else ""
    return str(found.get("volumeBindingMode") or IMMEDIATE)


def _is_named(live: Json, deploy: Deploy, name: str) -> bool:
    return not {live["kind"], f"{live['kind']}/{name}"}.isdisjoint(deploy.ready_kinds)


RESUMED = """--type=merge -p '{"spec":{"suspend":false}}'"""


def paused_or_suspended(step: Step, result: Json) -> str:
    """Why an object would never become ready, and the fix; empty where nothing keeps it from that.

    `result` is the object as it would be, as far as that is known; as it is, where its end is waited for.
    """
    if (step.ref.group, step.ref.kind) == ("apps", "Deployment") and (result.get("spec") or {}).get("paused"):
        return _paused(step)
    if step.ref.is_job and (_says(step, "suspend") or _is_found_suspended(step)):
        return _suspended(step)
    return ""


def stuck_jobs(api: Api, steps: Sequence[Step], limit: float) -> list[str]:
    """The Jobs of earlier deploys that have run for longer than `limit` seconds, each with the fix."""
    now = datetime.datetime.now(datetime.UTC)
    return [
        f"{step.ref}: an earlier deploy started it {spoken(age)} ago, longer than time_limits.job "
        f"({spoken(limit)}).\nfix: {how_to_end(step.ref)}; then deploy again."
        for step in steps
        if step.ref.is_job
        and step.live
        and still_runs(step.live)
        and (age := seconds_running(step.live, now)) > limit
        and has_started(step.live, pods_of_job(api, step.ref.namespace, step.live["metadata"]["uid"]))
    ]


def how_to_end(job: Ref) -> str:
    """How to see what a Job does, and how to end it."""
    logs = f"kubectl -n {job.namespace} logs job/{job.name}"
    return f"see what it does with `{logs}`; if it is stuck, end it with `{job.command('delete')}`"


def seconds_running(job: Json, now: datetime.datetime) -> float:
    """For how long a Job has been running: since its controller started it, or resumed it."""
    since = (job.get("status") or {}).get("startTime") or job["metadata"]["creationTimestamp"]
    return (now - datetime.datetime.fromisoformat(since)).total_seconds()


def _paused(step: Step) -> str:
    ref = step.ref
    resume = f"`kubectl -n {ref.namespace} rollout resume deployment/{ref.name}`"
    fix = "take `paused` out of its manifest" if _says(step, "paused") else resume
    return f"{ref}: its rollout is paused, so nothing would happen.\nfix: {fix}, then deploy again."


def _suspended(step: Step) -> str:
    """A queue's webhook may also suspend a Job, and starts it later: that is waited for."""
    fixes = ["take `suspend` out of its manifest"] if _says(step, "suspend") else []
    fixes += [f"`{step.ref.command('patch')} {RESUMED}`"] if _is_found_suspended(step) else []
    fix = ", and ".join(fixes)
    return f"{step.ref}: it is suspended, so it would never end.\nfix: {fix}, then deploy again."


def _is_found_suspended(step: Step) -> bool:
    """Whether a Job of an earlier deploy, whose end is waited for, was suspended since."""
    return step.action is Action.AWAIT and bool(((step.live or {}).get("spec") or {}).get("suspend"))


def _says(step: Step, field: str) -> bool:
    """Whether the manifest itself asks for it."""
    return bool((step.body.get("spec") or {}).get(field))
