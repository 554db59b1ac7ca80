"""After a failed deploy: keep the evidence, then bring the last good release back where it was touched.

How the deploy itself failed stays the news: whatever goes wrong here is told beside it.
"""

import datetime
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.lib.cluster.api import Json
from tasks.lib.cluster.connection import Connection
from tasks.lib.cluster.kinds import discover
from tasks.lib.deploy.aftercare import Aftercare
from tasks.lib.deploy.apply import remove
from tasks.lib.deploy.apply.in_phases import PhasedApply
from tasks.lib.deploy.events import DEPLOYED, Began, Notice, PhaseBegan, Record, Tell, Told
from tasks.lib.deploy.masking import learn
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.plan import plan
from tasks.lib.deploy.plan.conflicts import OPTION, Conflict
from tasks.lib.deploy.plan.decide import Step
from tasks.lib.deploy.releases import history, restore, seal, support_bundle
from tasks.lib.deploy.releases.history import Past
from tasks.lib.errors import Failure
from tasks.lib.redaction import Redactor

if TYPE_CHECKING:
    from tasks.lib.deploy.lock.lease import Lock
    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Recovery:
    """All that it takes to clear up after one deploy.

    Args:
        settings: the settings in force.
        environment: where.
        connection: its cluster.
        lock: held by this deploy, as long as it is not lost.
        seal: checks that a deploy wrote the release that is brought back.
        care: what the caller wants.
        redactor: takes secret values out of what is written; learns those that are found here.
        tell: is told what happens.
        zero: release 0, if this very deploy has kept it: it needs no seal to be trusted.

    """

    settings: "Settings"
    environment: "Environment"
    connection: Connection
    lock: "Lock"
    seal: seal.Seal
    care: Aftercare
    redactor: Redactor
    tell: Tell
    zero: Past | None = None

    def after(self, failure: Failure, planned: plan.Planned, record: Record, about: dict[str, str]) -> None:
        """Clear up; `record` says afterwards how it ended, and `failure` what to do next.

        Args:
            failure: why the deploy ended.
            planned: what it meant to do.
            record: how far it came.
            about: commit and so on, for the bundle.

        """
        if record.outcome == DEPLOYED:  # all is ready: only something to be removed was not
            record.aftermath.append(remove.LATER)
            return
        touched = restore.touched(planned.steps, record)
        if not touched or self.lock.lost.is_set():
            return
        self._learn_old_secrets()
        self.tell(Notice(f"failed: {failure.what}"))
        self.clear_up(failure, touched, planned.steps, record, about)

    def _learn_old_secrets(self) -> None:
        """Be wary of the values of every Secret in the namespace: pods log what the plan has no part in."""
        with suppress(Failure):  # then there will be no logs either
            learn(self.redactor, self._secrets())

    def _secrets(self) -> list[Json]:
        path = f"/api/v1/namespaces/{self.environment.namespace}/secrets"
        return self.connection.api.list(path, doing="list secrets")[0]

    def clear_up(
        self,
        failure: Failure,
        touched: list[Step],
        steps: list[Step],
        record: Record,
        about: dict[str, str],
    ) -> None:
        """Keep the evidence of what was touched, then bring it back as it was."""
        if kept := self._keep_evidence(failure, touched, record, about):
            record.aftermath.append(f"Evidence is kept in {kept}")
        if not (self.care.roll_back and self.settings.deploy.roll_back):
            record.aftermath.append("What was applied stays as it is, as was asked for.")
            return
        try:
            self._roll_back(failure, touched, steps, record, str(kept or ""))
        except KeyboardInterrupt:
            record.outcome = "failed, roll back interrupted"
            raise

    def _keep_evidence(
        self, failure: Failure, touched: list[Step], record: Record, about: dict[str, str]
    ) -> Path | None:
        base = self.settings.root / (self.care.evidence or self.settings.deploy.evidence)
        now = datetime.datetime.now(datetime.UTC)
        folder = base / support_bundle.folder_name(self.environment.name, about.get("commit", ""), now)
        api, kinds, namespace = self.connection.api, self.connection.kinds, self.environment.namespace
        self.tell(PhaseBegan("evidence"))
        found = support_bundle.collect(api, kinds, namespace, touched, record.heard)
        rows: list[dict[str, Any]] = [
            {"phase": row.phase, "object": str(row.ref), "action": row.action, "result": row.result}
            for row in record.rows.values()
        ]
        facts = {
            **about,
            "what": failure.what,
            "why": failure.why,
            "next": failure.next_step,
            "objects": rows,
        }
        try:
            support_bundle.write(folder, found, facts, self.redactor)
        except OSError as error:
            self.tell(Notice(f"Evidence could not be kept in {folder}: {error.strerror or error}"))
            return None
        self.tell(Notice(f"kept in {folder}"))
        return folder

    def _roll_back(
        self, failure: Failure, touched: list[Step], steps: list[Step], record: Record, kept: str
    ) -> None:
        api, namespace = self.connection.api, self.environment.namespace
        good, to = None, ""
        try:
            good = self.zero or history.last_good(history.read(api, namespace))
            if good is None:
                record.aftermath.append(
                    "No release went well here before: there is nothing to go back to, all stays."
                )
                return
            to = str(good.number)
            if good is not self.zero:
                seal.require(self.seal, good, self.environment.name)
            earlier, conceded = self._restore(good, touched, steps)
        except Failure as second:
            which = f"to release {to} " if to else ""
            record.outcome = f"failed, roll back {which}failed"
            why = self.redactor.line(f"{second.what} {second.why}")
            record.aftermath.append(f"The roll back {which}failed as well: {why}")
            record.aftermath.append(f"Next: {self._way_out(good)}")
            return
        record.outcome = f"failed, rolled back to {to}"
        record.aftermath.append(
            f"What it had touched is as in release {to} again{_but_for(conceded)}{_also(earlier)}. "
            "The database stays as it is: migrations are not reversed."
        )
        seen = f" What was seen is kept in {kept}" if kept else ""
        # What to look at is gone by now; what takes a field over is as good as before.
        advice = failure.next_step if OPTION in failure.next_step else "Mend the cause and deploy again."
        failure.next_step = f"{advice}{seen}"

    def _restore(
        self, good: Past, touched: list[Step], steps: list[Step]
    ) -> tuple[list[Step], list[Conflict]]:
        """Apply what the last good release had, wait until it is ready, then remove what it did not have.

        Returns:
            What an earlier deploy had left that did not end well, and whose fields are left to others.

        Raises:
            Failure: it cannot be brought back, or does not become ready.

        """
        environment, tell = self.environment, self.tell
        # The failed deploy may have brought kinds.
        connection = replace(self.connection, kinds=discover(self.connection.api))
        tell(PhaseBegan(f"back to {good.title}"))
        namespace, api = environment.namespace, connection.api
        before = wanted(good.objects(), connection.kinds, namespace)
        earlier = restore.unfinished(steps, touched, before)
        due = restore.restoration(touched, before, earlier)
        jobs, _ = api.list(f"/apis/batch/v1/namespaces/{namespace}/jobs", doing="list jobs")
        due = restore.sparing(due, jobs)
        for ref, reason in due.left:
            tell(Told(ref, f"left: {reason}"))
        present = {secret["metadata"]["name"] for secret in self._secrets()}
        restore.require_secrets(present, [w.body for w in due.objects], good)
        planned = plan.make(self.settings, environment, connection, due.objects, plan.Choices(concede=True))
        planned = replace(planned, removals=due.created)
        conceded = [conflict for found in planned.conceded.values() for conflict in found]
        for conflict in conceded:
            tell(Told(conflict.ref, f"left: {conflict.field} is managed by {conflict.manager}"))
        limit = self.settings.time_limits.rollback
        again = Record(environment.name, blank=self.redactor.line)
        tell(Began(again))
        course = PhasedApply(self.settings, environment, connection, again, tell, self.lock.require, limit)
        course.run(planned)
        return earlier, conceded

    def _way_out(self, good: Past | None) -> str:
        which = f" --to {good.number}" if good else ""
        if good and self.seal.doubt(good):
            which += " --accept-unsealed"
        command = f"./inv release.rollback --environment {self.environment.name}{which}"
        return f"{command}, or fix the cause and deploy again."


def _but_for(conceded: list[Conflict]) -> str:
    if not conceded:
        return ""
    fields = sorted({f"{conflict.field} of {conflict.ref}" for conflict in conceded})
    return f", but for what others have set since and keep ({', '.join(fields)})"


def _also(earlier: list[Step]) -> str:
    if not earlier:
        return ""
    return f", and so is what deploys before it had left otherwise ({len(earlier)} objects)"
