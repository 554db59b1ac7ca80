"""Objects that never become ready: paused Deployments, suspended Jobs, stuck Jobs of earlier deploys.

They are refused before anything changes: otherwise the deploy would end half-way, perhaps after a migration.
"""

import datetime
from collections.abc import Sequence

from tasks.lib.cluster.api import Api, Json
from tasks.lib.console import spoken
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.plan.decide import Action, Step
from tasks.lib.deploy.rollout.diagnose import has_started
from tasks.lib.deploy.rollout.logs import pods_of_job
from tasks.lib.deploy.rollout.readiness import still_runs

RESUMED = """--type=merge -p '{"spec":{"suspend":false}}'"""


def paused_or_suspended(step: Step, result: Json) -> str:
    """Why an object would never become ready, and the fix; empty where nothing keeps it from that.

    Args:
        step: what is to be done.
        result: the object as it would be, as far as that is known; or as it is, where its end is waited for.

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
