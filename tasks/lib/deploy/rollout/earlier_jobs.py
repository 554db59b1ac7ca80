"""Jobs of earlier deploys that still run: none is ended by us, for it may be changing the database.

One that another run is to replace is waited for, to whatever end.  One that has run for longer than a deploy
waits for a Job is taken for stuck: a deploy is refused before it changes anything, and told how to end it.
"""

import datetime
from collections.abc import Sequence

from tasks.lib.cluster.api import Api, Json
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.plan.decide import Step
from tasks.lib.deploy.rollout.cluster_view import View
from tasks.lib.deploy.rollout.logs import pods_of_job
from tasks.lib.deploy.rollout.readiness import State, standing, still_runs
from tasks.lib.deploy.rollout.target import Target
from tasks.lib.duration import spoken


def target(step: Step) -> Target | None:
    """The run that has to end before this step begins another; None where there is none."""
    if not step.ref.is_job or step.live is None or not still_runs(step.live):
        return None
    metadata = step.live["metadata"]
    return Target(step.ref, metadata["uid"], metadata.get("generation", 0), makes_way=True)


def has_begun(job: Json, pods: Sequence[Json]) -> bool:
    """Whether a container of the Job runs, or ever did, or may for all that is known.

    Args:
        job: as it is.
        pods: those of its pods that are known.

    """
    status = job.get("status") or {}
    if status.get("failed") or status.get("succeeded") or status.get("active", 0) > len(pods):
        return True
    containers = [
        one
        for pod in pods
        for kind in ("initContainerStatuses", "containerStatuses")
        for one in (pod.get("status") or {}).get(kind) or []
    ]
    return any(one.get("restartCount") or (one.get("state") or {}).keys() - {"waiting"} for one in containers)


def end(live: Json, view: View) -> str:
    """How a run that makes way ended, or that it cannot even begin; empty while it may go on."""
    found = standing(live)
    if found.state is not State.WAITING:
        return f"the run before has ended ({found.reason})"
    troubles = [trouble for trouble, _ in view.troubles_of(live) if trouble.is_lasting]
    if troubles and not has_begun(live, view.pods_of(live)):
        return f"the run before cannot begin ({troubles[0].reason}), so it is replaced"
    return ""


def way_out(ref: Ref) -> str:
    """How to see what a Job does, and how to end it."""
    logs = f"kubectl -n {ref.namespace} logs job/{ref.name}"
    return f"see what it does with `{logs}`; if it is stuck, end it with `{ref.command('delete')}`"


def faults(api: Api, steps: Sequence[Step], limit: float) -> list[str]:
    """Which Jobs are stuck, so that they are not waited for again, each with the way out.

    Args:
        api: the server.
        steps: all of a deploy.
        limit: the seconds for which a deploy waits for a Job.

    """
    now = datetime.datetime.now(datetime.UTC)
    return [
        _fault(step.ref, age, limit)
        for step in steps
        if step.ref.is_job
        and step.live
        and still_runs(step.live)
        and (age := seconds_running(step.live, now)) > limit
        and has_begun(step.live, pods_of_job(api, step.ref.namespace, step.live["metadata"]["uid"]))
    ]


def seconds_running(job: Json, now: datetime.datetime) -> float:
    """For how long a Job has been running: since its controller took it up, or took it up again."""
    since = (job.get("status") or {}).get("startTime") or job["metadata"]["creationTimestamp"]
    return (now - datetime.datetime.fromisoformat(since)).total_seconds()


def _fault(ref: Ref, age: float, limit: float) -> str:
    return (
        f"{ref}: an earlier deploy started it {spoken(age)} ago, and time_limits.job is {spoken(limit)}: "
        "it is not waited for again.\n"
        f"way out: {way_out(ref)}; then deploy again."
    )
