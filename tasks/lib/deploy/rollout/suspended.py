"""What stands still until somebody wants it otherwise, so that waiting for it would never end.

It is refused before anything changes: it would end the deploy half-way, after the migration or before it.
"""

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.plan.decide import Action, Step

RESUMED = """--type=merge -p '{"spec":{"suspend":false}}'"""


def fault(step: Step, result: Json) -> str:
    """Why a step is not to be begun with, and the way out; empty where nothing speaks against it.

    Args:
        step: what is to be done.
        result: the object as it would be, as far as that is known; or as it is, where its end is waited for.

    """
    if (step.ref.group, step.ref.kind) == ("apps", "Deployment") and (result.get("spec") or {}).get("paused"):
        return _paused(step)
    if step.ref.is_job and (_says(step, "suspend") or _is_found_suspended(step)):
        return _suspended(step)
    return ""


def _paused(step: Step) -> str:
    ref = step.ref
    resume = f"`kubectl -n {ref.namespace} rollout resume deployment/{ref.name}`"
    out = "take `paused` out of its manifest" if _says(step, "paused") else resume
    return f"{ref}: its rollout is paused, nothing would happen.\nway out: {out}, then deploy again."


def _suspended(step: Step) -> str:
    """A queue's webhook may suspend a Job as well, and lets it run in its time: that is waited for."""
    ref = step.ref
    resume = f"`{ref.command('patch')} {RESUMED}`"
    outs = ["take `suspend` out of its manifest"] if _says(step, "suspend") else []
    outs += [resume] if _is_found_suspended(step) else []
    way_out = ", and ".join(outs)
    return f"{ref}: it is suspended, so it would never end.\nway out: {way_out}, then deploy again."


def _is_found_suspended(step: Step) -> bool:
    """Whether a Job of an earlier deploy, the end of which is waited for, was suspended since."""
    return step.action is Action.AWAIT and bool(((step.live or {}).get("spec") or {}).get("suspend"))


def _says(step: Step, field: str) -> bool:
    """Whether the manifest itself asks for it."""
    return bool((step.body.get("spec") or {}).get(field))
