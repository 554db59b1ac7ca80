"""The whole deploy of one environment, from settings to a healthy system, as one function.

tasks/deploy.py and tasks/rehearse.py call it; it knows nothing of a command line.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tasks.lib.background import Background
from tasks.lib.deploy.aftercare import Aftercare
from tasks.lib.deploy.around import Around
from tasks.lib.deploy.events import (
    DEPLOYED,
    Began,
    Decided,
    Ended,
    Notice,
    PhaseBegan,
    Record,
    Remembered,
    Tell,
)
from tasks.lib.deploy.hooks import Launcher
from tasks.lib.deploy.masking import learn, masked
from tasks.lib.errors import Failure
from tasks.lib.secrets.files import RELEASE_KEY

if TYPE_CHECKING:
    from tasks.lib.build_variables import BuildVariables
    from tasks.lib.cluster.api import Json
    from tasks.lib.cluster.connection import Connection
    from tasks.lib.deploy.lock.lease import Lock
    from tasks.lib.deploy.plan.document import Plan
    from tasks.lib.deploy.plan.plan import Choices, Planned
    from tasks.lib.deploy.releases.seal import Seal
    from tasks.lib.render.rendering import Rendered
    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Release:
    """What is deployed where.

    Args:
        environment: where.
        variables: which commit, tag and so on.
        choices: what the caller chose.
        wait: whether to wait for another deploy to end.
        approve: sees the plan before anything changes; raises to stop.
        care: what is done after a failure.
        launcher: how hooks are started.
        allow_older: deploy a commit although the one in force is known to be newer.

    """

    environment: "Environment"
    variables: "BuildVariables"
    choices: "Choices"
    wait: bool = True
    approve: "Callable[[Plan], None]" = lambda plan: None
    care: Aftercare = field(default_factory=Aftercare)
    launcher: Launcher = field(default_factory=Launcher)
    allow_older: bool = False


def deploy(settings: "Settings", release: Release, tell: Tell) -> Record:
    """Deploy; the end is told on success, failure, time-out and interruption alike.

    Args:
        settings: the settings in force.
        release: what is deployed where.
        tell: receives what happens, the end included.

    Returns:
        What became of each object.

    Raises:
        Failure: nothing, or not everything, was deployed; the message says why.
        TimedOut: something took longer than its limit.

    """
    with _around(settings, release, tell).course():
        return _deploy(settings, release, tell)


def _around(settings: "Settings", release: Release, tell: Tell) -> Around:
    return Around(settings, release.environment, release.variables, release.launcher, tell)


def _deploy(settings: "Settings", release: Release, tell: Tell) -> Record:
    record = Record(release.environment.name)
    began = time.monotonic()
    try:
        tell(Began(record))
        tell(PhaseBegan("preflight"))
        connection, rendered, sealing = prepare(settings, release)
        record.blank = rendered.redactor.line
        tell = masked(tell, rendered.redactor)
        with _closing(connection), rendered.redactor.failures():
            _converge(settings, release, connection, rendered, sealing, record, tell)
    finally:
        tell(Ended(record, time.monotonic() - began))
    return record


def plan(settings: "Settings", release: Release) -> "Plan":
    """What a deploy would do; nothing in the cluster changes.

    Raises:
        Failure: the deploy would fail before it changes anything.

    """
    connection, rendered, _ = prepare(settings, release)
    with _closing(connection), rendered.redactor.failures():
        return _planned(settings, release, connection, rendered)[1]


def prepare(settings: "Settings", release: Release) -> "tuple[Connection, Rendered, Seal]":
    """Reach the cluster while the secrets are decrypted, and render; all of it changes nothing.

    Raises:
        Failure: the cluster or the key management cannot be used, or the tree cannot be rendered.

    """
    from tasks.lib.cluster.connection import connect
    from tasks.lib.deploy.releases import seal
    from tasks.lib.image.pinning import pin
    from tasks.lib.render.rendering import render
    from tasks.lib.render.validation import preload
    from tasks.lib.secrets.crypt import decrypt_all

    environment = release.environment
    connecting = Background(partial(connect, settings, environment))
    secrets = decrypt_all(settings, environment)
    sealing = seal.of(settings, environment, secrets)
    secrets.pop(RELEASE_KEY, None)  # no manifest reads it
    # kustomize is another process: while it works, this one gets ready for what it will say.
    loading = Background(partial(preload, settings.kustomize.kubernetes))
    rendered = render(settings, environment, release.variables, secrets)
    loading.is_done()
    rendered.validate(settings.kustomize.kubernetes)
    with rendered.redactor.failures():
        pin(settings, [document.content for document in rendered.documents])
    return connecting.wait(), rendered, sealing


def _converge(
    settings: "Settings",
    release: Release,
    connection: "Connection",
    rendered: "Rendered",
    sealing: "Seal",
    record: Record,
    tell: Tell,
) -> None:
    from tasks.lib.cluster import identity
    from tasks.lib.deploy.apply.in_phases import PhasedApply
    from tasks.lib.deploy.backup.policy import Safety
    from tasks.lib.deploy.lock import holder, lease
    from tasks.lib.deploy.plan import readers
    from tasks.lib.deploy.releases import release_zero
    from tasks.lib.deploy.releases.recover import Recovery

    environment = release.environment
    _tell_where(connection, sealing, tell)
    claim = holder.claim(release.variables)
    one = lease.Lock(connection.api, environment, claim)
    with _locked(settings, release, connection, rendered, one, tell) as approve:
        planned, shown, marked = _planned(settings, release, connection, rendered)
        _tell_plan(planned, shown, tell)
        approve(shown)
        _around(settings, release, tell).before()
        safety = Safety(settings, environment, tell)
        if release.choices.backup:
            safety.begin(planned, release.variables.commit_sha)
        zero = release_zero.keep(connection, environment, planned.steps, claim.holder, sealing, tell)
        if not marked:
            identity.write(connection.api, environment)
        began, about = time.monotonic(), {**claim.notes, "who": claim.holder}
        try:
            course = PhasedApply(
                settings, environment, connection, record, tell, one.require, before=safety.before
            )
            course.run(planned)
        except Failure as failure:
            recovery = Recovery(
                settings, environment, connection, one, sealing, release.care, rendered.redactor, tell, zero
            )
            recovery.after(failure, planned, record, about)
            raise
        except KeyboardInterrupt:
            interrupted(record)
            raise
        finally:
            about |= safety.facts
            record.aftermath += readers.notes(planned) if record.outcome == DEPLOYED else safety.reminder()
            writes = planned.removals or any(step.writes for step in planned.steps)
            if writes or (record.outcome == DEPLOYED and not _is_kept(connection, environment)):
                seconds = time.monotonic() - began
                _remember(connection, environment, planned, record, about, seconds, sealing, tell)


def _tell_where(connection: "Connection", sealing: "Seal", tell: Tell) -> None:
    tell(Notice(f"cluster {connection.found.name} at {connection.found.endpoint.server}"))
    if sealing.problem:
        tell(Notice(f"This release will not be sealed, so a roll back to it will ask. {sealing.problem}"))


def _tell_plan(planned: "Planned", shown: "Plan", tell: Tell) -> None:
    from tasks.lib.deploy.plan import autoscaling

    tell(Decided(shown))
    for note in (*shown.notes, *autoscaling.notes(planned.steps)):
        tell(Notice(note))


def interrupted(record: Record) -> None:
    """Note how an interrupted deploy ended; once all is ready, only something to be removed is left."""
    from tasks.lib.deploy.apply.remove import LATER

    if record.outcome == DEPLOYED:
        record.aftermath.append(LATER)
        return
    record.outcome = "interrupted"
    record.aftermath.append("It was interrupted: what was applied stays, nothing is rolled back.")


def _is_kept(connection: "Connection", environment: "Environment") -> bool:
    """Whether the newest release went well, so that a deploy that changes nothing is that release again.

    One that finishes what a killed deploy had applied is news: nothing else tells what to roll back to.
    """
    from tasks.lib.deploy.releases import history

    try:
        past = history.read(connection.api, environment.namespace)
    except Failure:
        return True
    return bool(past) and past[0].went_well


def _remember(
    connection: "Connection",
    environment: "Environment",
    planned: "Planned",
    record: Record,
    about: "Json",
    seconds: float,
    sealing: "Seal",
    tell: Tell,
) -> None:
    """Keep the release in the cluster's history."""
    from tasks.lib.deploy.releases import history

    objects = [step.wanted for step in planned.steps]
    facts = history.facts(about, record, objects, record.outcome, seconds)
    tell(Remembered(facts))
    history.keep(connection.api, environment.namespace, facts, objects, tell, sealing.sealed)


def _planned(
    settings: "Settings", release: Release, connection: "Connection", rendered: "Rendered"
) -> "tuple[Planned, Plan, bool]":
    from tasks.lib.cluster import identity
    from tasks.lib.deploy.apply import namespace
    from tasks.lib.deploy.objects import wanted
    from tasks.lib.deploy.plan import commit_order, document, plan, prune, readers, references
    from tasks.lib.deploy.releases import history

    environment = release.environment
    marked = identity.check(connection.api, environment)
    contents = [document.content for document in rendered.documents]
    objects = wanted(contents, connection.kinds, environment.namespace)
    objects = readers.marked(objects) if settings.deploy.restart_readers else objects
    planned = plan.make(settings, environment, connection, objects, release.choices)
    if release.choices.prune and settings.deploy.prune:
        planned = prune.completed(settings, environment, connection, planned)
    references.require(connection, planned, settings.deploy.provided, environment.prefix)
    past = [] if release.allow_older else history.read(connection.api, environment.namespace)
    notes = (
        *commit_order.check(settings, environment.name, release.variables, past),
        *readers.notes(planned),
    )
    shown = replace(document.of(environment.name, planned), notes=notes)
    if not marked and namespace.is_missing(connection.api, environment):
        shown = document.with_namespace(shown, environment.namespace)
    learn(rendered.redactor, planned.live_secrets)
    return planned, document.blanked(shown, rendered.redactor), marked


@contextmanager
def _locked(
    settings: "Settings",
    release: Release,
    connection: "Connection",
    rendered: "Rendered",
    one: "Lock",
    tell: Tell,
) -> "Iterator[Callable[[Plan], None]]":
    """Hold the lock; a namespace that is missing is created first, once the plan that shows it is approved.

    Yields:
        What has still to approve the plan.

    """
    from tasks.lib.deploy.apply import namespace
    from tasks.lib.deploy.lock import lease

    approve, wait = release.approve, settings.time_limits.lock if release.wait else 0
    with ExitStack() as stack:
        try:
            stack.enter_context(lease.held(one, wait=wait, tell=tell))
        except namespace.NoNamespace:
            approve(_planned(settings, release, connection, rendered)[1])
            namespace.create(connection.api, release.environment.namespace)
            tell(Notice(f"namespace {release.environment.namespace} is created"))
            stack.enter_context(lease.held(one, wait=wait, tell=tell))
            approve = _approved
        yield approve


def _approved(plan: "Plan") -> None:
    """Approve what was approved before."""


@contextmanager
def _closing(connection: "Connection") -> Iterator[None]:
    try:
        yield
    finally:
        connection.api.close()
