"""Maintenance mode on and off: each step is safe to be the last, and both may be run again to continue.

Turning it on: note it, make the page, have Services send visitors to it, then stop the workers.  Turning it
off goes the other way.  A deploy puts objects into their form for it only once the page is ready
(`deploy.maintenance`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.gke import Connection
from tasks.lib.cluster.kinds import listed
from tasks.lib.deploy import maintenance
from tasks.lib.deploy.events import Notice, PhaseBegan, Record, Tell
from tasks.lib.deploy.lock import lease
from tasks.lib.deploy.lock.holder import OPERATION, claim
from tasks.lib.deploy.maintenance import Maintenance, Stage
from tasks.lib.deploy.objects import APPLIED, Wanted, annotated, ref_of, wanted
from tasks.lib.deploy.plan.field_managers import labelled
from tasks.lib.deploy.releases import review, store
from tasks.lib.deploy.session import masked
from tasks.lib.errors import Failure, UsageError
from tasks.lib.operate import workloads
from tasks.lib.operate.restart import change, follow
from tasks.lib.operate.stopping import Forms, NotStopped, Stopping, other_form
from tasks.lib.operate.workloads import RESTORE, is_stopped
from tasks.lib.printable import one_line
from tasks.lib.redaction import Redactor
from tasks.lib.settings.model import Environment, Settings

LONGEST: Final = 1000


def turn_on(settings: Settings, environment: Environment, message: str, tell: Tell) -> Maintenance:
    """Show visitors a page and stop the workers, under the environment's lock; returns what is noted.

    If it is on already, the page gets the new message; without one it keeps the old one.

    Raises:
        UsageError: the message is too long, or no text.
        Failure: there is no web, or the page cannot become ready; visitors still get the site.
        TimedOut: a deploy held the lock for too long, or workers did not end in time; visitors get the page.

    """
    require_text(message)
    with _held(settings, environment, tell) as site:
        now = begun(site.noted, message, site.image)
        site.note(now)
        site.show_page(now)
        now = replace(now, stage=Stage.ON)
        site.note(now)
        site.turn_services()
        site.stop_workers()
        return now


def turn_off(settings: Settings, environment: Environment, tell: Tell) -> bool:
    """Start the workers, give visitors the site again and remove the page; returns whether it was on.

    Raises:
        Failure: workers or web cannot become ready, or a restore has stopped them; visitors get the page.
        TimedOut: not all were ready in time, or a deploy held the lock for too long.

    """
    with _held(settings, environment, tell) as site:
        if site.noted is None:
            return False
        site.require_no_restore()
        site.start_workers()
        site.note(replace(site.noted, stage=Stage.ENDING))
        site.turn_services_back()
        site.remove_page()
        return True


def state(settings: Settings, environment: Environment) -> Maintenance | None:
    """What is noted; None where maintenance mode is off."""
    with workloads.reached(settings, environment) as (connection, _):
        return maintenance.read(connection.api, environment.namespace)


def in_words(now: Maintenance | None) -> str:
    """What is noted, as a line; `half on` where a task that turned it on or off was killed, or still runs."""
    if now is None:
        return "off"
    stage = "on" if now.stage is Stage.ON else f"half on ({now.stage})"
    return one_line(f"{stage} since {now.since}, by {now.who}: {now.message or maintenance.DEFAULT}")


def require_text(message: str) -> None:
    """Raise UsageError for a message that no page can show."""
    if len(message) > LONGEST:
        raise UsageError(f"The message has {len(message)} characters.", f"At most {LONGEST} fit.")
    if not message.isprintable() and not message.replace("\n", "").isprintable():
        raise UsageError("The message has characters that cannot be shown.", "", "Leave them out.")


def begun(before: Maintenance | None, message: str, image: str) -> Maintenance:
    """What is noted when it is turned on; where it was on, who began it stays, and the image of the page."""
    if before is not None and before.stage is Stage.ON:
        return replace(before, message=message or before.message)
    who, now = claim({}).holder.partition(" (")[0], datetime.now(UTC)
    return Maintenance(Stage.PREPARING, message, who, now.isoformat(timespec="seconds"), image)


@contextmanager
def _held(settings: Settings, environment: Environment, tell: Tell) -> "Iterator[Site]":
    with workloads.reached(settings, environment) as (connection, redactor):
        mine = lease.Lock(connection.api, environment, claim({OPERATION: "maintenance"}))
        # That of a killed task is free after some seconds.
        with lease.held(mine, wait=settings.time_limits.lock, tell=tell):
            site = Site(settings, environment, connection, redactor, masked(tell, redactor))
            try:
                yield site
            except (Failure, KeyboardInterrupt):
                if site.has_noted:
                    again = f"./inv app.maintenance --environment {environment.name}"
                    site.tell(Notice(f"Not finished: {again} with --on or --off goes on from here."))
                raise


@dataclass
class Site:
    """The site of an environment: what visitors reach, and what works behind it."""

    settings: Settings
    environment: Environment
    connection: Connection
    redactor: Redactor
    tell: Tell
    has_noted: bool = False  # whether this task has noted how far it is

    @cached_property
    def noted(self) -> Maintenance | None:
        """What was noted when this began."""
        return maintenance.read(self.connection.api, self.environment.namespace)

    @cached_property
    def web(self) -> Json:
        """The workload that answers visitors; raises UsageError where there is none."""
        [found] = workloads.find(self.settings, self.environment, self.connection, [maintenance.WEB])
        return found

    @property
    def image(self) -> str:
        """The application's image that web runs."""
        containers = self.web["spec"]["template"]["spec"]["containers"]
        own = [one for one in containers if maintenance.is_of(one, self.settings.image.repository)]
        return str((own or containers)[0]["image"])

    def note(self, now: Maintenance) -> None:
        """Write down how far it is."""
        self.has_noted = True
        path = maintenance.path(self.environment.namespace)
        self.connection.api.apply(path, maintenance.config_map(now), doing="note maintenance mode")

    def show_page(self, now: Maintenance) -> None:
        """Make the page, or change it, and wait until it is ready."""
        was = [{**one, "spec": {**one["spec"], "selector": selected(one)}} for one in self._services()]
        page = labelled(maintenance.page_of(self.web, was, now, self.environment), self.environment.namespace)
        body = annotated(page.body, {APPLIED: page.digest})
        path = self.connection.kinds[page.ref.key].path(page.ref.namespace, page.ref.name)
        follow(
            self.settings, self.connection, "page", [page.ref],
            lambda ref: self.connection.api.apply(path, body, doing=f"apply {ref}", query={"force": "true"}),
            self._record(), self.tell,
        )  # fmt: skip

    def turn_services(self) -> None:
        """Have Services send visitors to the page; web goes on, so no request fails."""
        self.tell(PhaseBegan("visitors get the page"))
        for one in self._services():
            if maintenance.is_before(one, self.web):
                text = json.dumps(one["spec"]["selector"], sort_keys=True)
                self._select(one, maintenance.SELECTED, {maintenance.SELECTOR: text}, 1)

    def turn_services_back(self) -> None:
        """Have Services send visitors to web again; the page's pods go on for some seconds."""
        self.tell(PhaseBegan("visitors get the site"))
        for one in self._services():
            if (before := maintenance.before(one)) is not None:
                self._select(one, before, {maintenance.SELECTOR: None}, 0)

    def stop_workers(self) -> None:
        """Let workers end their tasks, and wait for them.

        Raises:
            NotStopped: some still run.

        """
        self.tell(PhaseBegan("workers end"))
        try:
            self._stopping().stop()
        except NotStopped as still:
            again = f"./inv app.maintenance --on --environment {self.environment.name} waits for them again."
            why = f"{still.why} Visitors get the page."
            raise still.retold(why=why, next_step=f"{still.next_step}; {again}") from still

    def start_workers(self) -> None:
        """Start the workers, and wait until they are ready, and web where visitors do not reach it."""
        is_turned = any(maintenance.before(one) for one in self._services())
        self._stopping().start(self._record(), also=[self.web] if is_turned else [])

    def require_no_restore(self) -> None:
        """Raise Failure where a restore of the database has stopped the application."""
        stopped = [one for one in self._all() if is_stopped(one, RESTORE)]
        if stopped:
            names = ", ".join(str(ref_of(one)) for one in stopped)
            raise Failure(
                "Maintenance mode stays on: a restore of the database has stopped the application.",
                f"Stopped: {names}.",
                f"When the data are good: ./inv database.start --environment {self.environment.name}",
            )

    def remove_page(self) -> None:
        """Remove the page, then the note."""
        namespace, name = self.environment.namespace, f"{self.environment.prefix}{maintenance.PAGE}"
        self.tell(Notice("the page is removed"))
        for path in (
            f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
            maintenance.path(namespace),
        ):
            options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
            try:
                self.connection.api.request("DELETE", path, doing="remove the page", body=options)
            except ApiError as error:
                if error.status != 404:
                    raise

    def _select(self, service: Json, selector: Mapping[str, str], notes: Json, meanwhile: int) -> None:
        ref, old = ref_of(service), service["spec"]["selector"]
        notes = {**notes, **other_form(service, self._forms, meanwhile)}
        body = {
            "metadata": {"annotations": notes},
            "spec": {"selector": {**dict.fromkeys(old), **selector}},
        }
        change(self.connection, ref, body, doing=f"switch {ref}")

    def _stopping(self) -> Stopping:
        return Stopping(
            self.settings, self.environment, self.connection, self.tell, maintenance.REPLICAS, self._workers,
            self._forms,
        )  # fmt: skip

    def _workers(self) -> list[Json]:
        image = self.settings.image.repository
        return [one for one in self._all() if maintenance.is_worker(one, self.environment, image)]

    def _all(self) -> list[Json]:
        return workloads.listed(self.connection, self.environment.namespace)

    def _services(self) -> list[Json]:
        """Web's Services, whether they select it at this moment or before."""
        kind = self.connection.kinds["v1", "Service"]
        found = listed(self.connection.api, kind, self.environment.namespace)
        return [one for one in found if maintenance.is_before(one, self.web) or maintenance.before(one)]

    @cached_property
    def _forms(self) -> Forms:
        """The fingerprints by which the next plan knows that nothing has to change."""
        past = store.read(self.connection.api, self.environment.namespace)
        try:
            bodies = review.set_by(review.in_force(past, self.environment.name), past) if past else []
        except Failure:  # what is kept of it was damaged
            return {}
        objects = wanted(bodies, self.connection.kinds, self.environment.namespace)
        is_on = Maintenance(Stage.ON, "", "", "", "")
        return forms(objects, is_on, self.environment, self.settings.image.repository)

    def _record(self) -> Record:
        return Record(self.environment.name, blank=self.redactor.line)


def forms(objects: Sequence[Wanted], now: Maintenance, environment: Environment, image: str) -> Forms:
    """The fingerprints of objects that differ in maintenance mode: otherwise, and meanwhile."""
    if not any(maintenance.is_web(w.body, environment) for w in objects):
        return {}
    pairs = zip(objects, maintenance.formed(objects, now, environment, image), strict=False)
    return {one.ref: (one.digest, other.digest) for one, other in pairs if one.digest != other.digest}


def selected(service: Json) -> Any:
    """What a Service selects when maintenance mode is off."""
    return maintenance.before(service) or service["spec"]["selector"]
