"""Rolling back: an earlier release from history, its configuration and image together."""

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy import notifications
from tasks.lib.deploy.apply import remove
from tasks.lib.deploy.around import Around
from tasks.lib.deploy.backup import policy
from tasks.lib.deploy.events import DEPLOYED, Began, Ended, Notice, PhaseBegan, Record, Tell
from tasks.lib.deploy.hooks import Launcher
from tasks.lib.deploy.lock import holder, lease
from tasks.lib.deploy.plan import conflicts, document
from tasks.lib.deploy.releases import history, restore, seal
from tasks.lib.errors import Failure
from tasks.lib.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tasks.lib.cluster.api import Json
    from tasks.lib.cluster.connection import Connection
    from tasks.lib.deploy.objects import Wanted
    from tasks.lib.deploy.plan.document import Plan
    from tasks.lib.deploy.plan.plan import Planned
    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Return:
    """What is brought back where.

    Args:
        environment: where.
        number: the release; None for the last good one before the present.
        launcher: how hooks are started.
        force_conflicts: `Kind/name:field` to take over from other managers.
        prune: remove what later releases added.
        accept_unsealed: sees the plan of a release that cannot be trusted, and raises to stop; None refuses
            such a release.

    """

    environment: "Environment"
    number: int | None = None
    launcher: Launcher = field(default_factory=Launcher)
    force_conflicts: tuple[str, ...] = ()
    prune: bool = True
    accept_unsealed: "Callable[[Plan], None] | None" = None


def releases(settings: "Settings", environment: "Environment") -> list[history.Past]:
    """The releases that are kept, the newest first."""
    from tasks.lib.cluster.connection import connect

    return history.read(connect(settings, environment).api, environment.namespace)


def roll_back(settings: "Settings", due: Return, tell: Tell) -> Record:
    """Deploy an earlier release anew; Jobs are left out, because migrations are never reversed.

    Args:
        settings: the settings in force.
        due: what is brought back where.
        tell: receives what happens.

    Raises:
        Failure: it cannot be brought back, or does not become ready.

    """
    from tasks.lib.cluster import identity
    from tasks.lib.cluster.connection import connect

    for named in due.force_conflicts:
        conflicts.bare(named)
    environment = due.environment
    connection = connect(settings, environment)
    try:
        identity.check(connection.api, environment)
        past = history.read(connection.api, environment.namespace)
        chosen = history.choose(past, due.number, environment.name)
        sealing = seal.decrypted(settings, environment)
        if due.accept_unsealed is None:
            seal.require(sealing, chosen, environment.name)
        tell(PhaseBegan(f"back to {chosen.title}"))
        kept = policy.way_back(past, chosen.number)
        tell(Notice(f"The database stays as it is: migrations are not reversed. {kept}".strip()))
        variables = variables_of(chosen)
        with Around(settings, environment, variables, due.launcher, tell, notifications.ROLLBACK).course():
            return _bring_back(settings, due, connection, chosen, sealing, tell)
    finally:
        connection.api.close()


def variables_of(past: history.Past) -> BuildVariables:
    """What was released, for hooks and notifications; what a release does not know is empty."""
    known = {key: past.facts.get(key, "") for key in ("commit", "branch", "tag", "build")}
    return BuildVariables(
        commit_sha=known["commit"], branch_name=known["branch"], tag_name=known["tag"],
        repo_name="", build_id=known["build"],
    )  # fmt: skip


def _bring_back(
    settings: "Settings",
    due: Return,
    connection: "Connection",
    chosen: history.Past,
    sealing: seal.Seal,
    tell: Tell,
) -> Record:
    from tasks.lib.deploy.masking import learn, masked
    from tasks.lib.deploy.objects import is_job, wanted
    from tasks.lib.secrets.sensitive import public

    environment = due.environment
    record, began = Record(environment.name), time.monotonic()
    api = connection.api
    secrets, _ = api.list(f"/api/v1/namespaces/{environment.namespace}/secrets", doing="list secrets")
    old = [body for body in chosen.objects() if not is_job(body)]
    redactor = Redactor(public=public(settings, [body["metadata"]["name"] for body in old]))
    learn(redactor, secrets)
    tell, record.blank = masked(tell, redactor), redactor.line
    if approve := due.accept_unsealed:
        due = replace(due, accept_unsealed=lambda plan: approve(document.blanked(plan, redactor)))
    record.outcome = "roll back failed"
    tell(Began(record))
    try:
        with redactor.failures():
            restore.require_secrets({secret["metadata"]["name"] for secret in secrets}, old, chosen)
            _require_images(settings, old, tell)
            objects = wanted(old, connection.kinds, environment.namespace)
            _under_lock(settings, due, connection, chosen, sealing, objects, record, tell)
    finally:
        tell(Ended(record, time.monotonic() - began))
    return record


def _require_images(settings: "Settings", objects: "Sequence[Json]", tell: Tell) -> None:
    """Check that the registry still holds what will run; one that cannot be asked hinders nobody.

    Raises:
        Failure: an image is gone; nothing was changed.

    """
    from tasks.lib.image import pinning

    try:
        gone = pinning.gone(settings, objects)
    except Failure as failure:
        tell(Notice(f"Whether its images are still there is not known: {failure.what}"))
        return
    if gone:
        raise Failure(
            "That release cannot be brought back: the registry does not hold its images any more.",
            "\n".join(gone),
            "Choose another release with --to, or build and push the image (./inv build, ./inv push).",
        )


def _under_lock(
    settings: "Settings",
    due: Return,
    connection: "Connection",
    chosen: history.Past,
    sealing: seal.Seal,
    objects: "Sequence[Wanted]",
    record: Record,
    tell: Tell,
) -> None:
    """Plan, apply and wait, and keep a release that says what this one goes back to."""
    from tasks.lib.deploy.apply.in_phases import PhasedApply
    from tasks.lib.deploy.plan import readers

    environment, api = due.environment, connection.api
    claim, began = holder.claim_to_go_back(chosen.facts), time.monotonic()
    one = lease.Lock(api, environment, claim)
    with lease.held(one, wait=settings.time_limits.lock, tell=tell):
        require_still(due, chosen, history.read(api, environment.namespace))
        planned = _planned(settings, due, connection, objects)
        if due.accept_unsealed and sealing.doubt(chosen):
            tell(Notice(f"Release {chosen.number} cannot be trusted. {sealing.doubt(chosen)}"))
            refuse_foreign(planned, environment)
            due.accept_unsealed(document.of(environment.name, planned))
        try:
            PhasedApply(settings, environment, connection, record, tell, one.require).run(planned)
            record.aftermath += readers.notes(planned)
        except (Failure, KeyboardInterrupt) as end:
            note_end(record, end, chosen)
            raise
        finally:
            about = {**claim.notes, "who": claim.holder, "back_to": str(chosen.number)}
            facts = history.facts(about, record, objects, record.outcome, time.monotonic() - began)
            facts["secrets"] = chosen.facts.get("secrets", "[]")  # they stay, and are not among the objects
            history.keep(api, environment.namespace, facts, objects, tell, sealing.sealed)


def refuse_foreign(planned: "Planned", environment: "Environment") -> None:
    """Check that an untrusted release makes nothing outside the environment's namespace.

    Raises:
        Failure: it would create cluster-wide objects, or objects of other namespaces; nothing was changed.

    """
    created = [step.ref for step in planned.steps if step.writes and step.live is None]
    if foreign := [str(ref) for ref in created if ref.namespace != environment.namespace]:
        raise Failure(
            "A release that cannot be trusted creates nothing outside the environment's namespace.",
            "\n".join(foreign),
            "Deploy a commit instead: ./inv deploy --branch … --commit …",
        )


def note_end(record: Record, end: Failure | KeyboardInterrupt, chosen: history.Past) -> None:
    """Note how a roll back ended early; once all is ready, only something to be removed is left."""
    again = f"./inv release.rollback --environment {record.environment} --to {chosen.number}"
    if record.outcome == DEPLOYED:
        record.aftermath.append(remove.LATER)
    elif isinstance(end, KeyboardInterrupt):
        record.outcome = "roll back interrupted"
        record.aftermath.append(f"It was interrupted: what was brought back stays. For the rest: {again}")


def require_still(due: Return, chosen: history.Past, past: "Sequence[history.Past]") -> None:
    """Check, once we have the lock, that what others did while we waited for it leaves the choice as it was.

    Args:
        due: what was asked for.
        chosen: the release that was chosen before.
        past: the releases that are kept now.

    Raises:
        Failure: without a number, another release is meant now.

    """
    now = history.choose(past, due.number, due.environment.name).number
    if now != chosen.number:
        raise Failure(
            "Another deploy ended, or was killed, while this waited for its lock: nothing was changed.",
            f"The last good release before the present one is {now} now; it was {chosen.number}.",
            f"./inv release.rollback --environment {due.environment.name} --to {now}",
        )


def _planned(
    settings: "Settings", due: Return, connection: "Connection", objects: "Sequence[Wanted]"
) -> "Planned":
    """What going back takes; what later releases added is removed, all but Jobs and Secrets.

    Raises:
        Failure: permissions are missing, or the cluster would refuse some of it.

    """
    from tasks.lib.deploy.plan import plan, prune

    choices = plan.Choices(force_conflicts=due.force_conflicts)
    planned = plan.make(settings, due.environment, connection, objects, choices)
    if not (due.prune and settings.deploy.prune):
        return planned
    return prune.completed(settings, due.environment, connection, planned, spared=("Job", "Secret"))
