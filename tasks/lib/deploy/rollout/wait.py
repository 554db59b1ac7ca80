"""Waiting: every target is judged at each piece of news, until all are ready or one has failed."""

import queue
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from tasks.lib import signals
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kinds
from tasks.lib.deploy.events import LogLine, Notice, Record, Result, Tell, Told
from tasks.lib.deploy.objects import Ref, is_going
from tasks.lib.deploy.rollout.awaited import how_to_end
from tasks.lib.deploy.rollout.cluster_view import View
from tasks.lib.deploy.rollout.judge import Outcome, Target, Verdict, judge
from tasks.lib.deploy.rollout.logs import Followers, failed, has_completed, owners, pods_of_job
from tasks.lib.deploy.rollout.readiness import job_outcome, tally
from tasks.lib.deploy.rollout.watch import Broken, Disturbed, Gone, Inbox, Listed, News, Seen, watching
from tasks.lib.errors import Failure, TimedOut

# How often rules that count seconds are looked at when nothing happens.
TICK: Final = 0.5
SECONDS_FOR_LAST_LOG_LINES: Final = 15.0
GONE: Final = "the previous run is gone"
PODS: Final = (("v1", "Pod"), ("v1", "Event"), ("v1", "PersistentVolumeClaim"))
WATCHED_WITH: Final = {
    "Deployment": (("apps/v1", "ReplicaSet"), *PODS),
    "StatefulSet": PODS,
    "DaemonSet": PODS,
    "ReplicaSet": PODS,
    "ReplicationController": PODS,
    "Job": PODS,
    "Pod": PODS[1:],
    "PersistentVolumeClaim": PODS[1:2],
}


class Wait:
    """One wait for a set of targets.

    Args:
        namespace: the environment's, for what lies in none itself.
        limits: time limits that take the place of the rules' own patience, by name.

    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        targets: Sequence[Target],
        record: Record,
        tell: Tell,
        limits: Mapping[str, float],
    ) -> None:
        self._api, self._namespace, self._limits = api, namespace, limits
        self._record, self._tell = record, tell
        self._pending = {target.ref: target for target in targets}
        self._jobs = [target for target in targets if target.ref.is_job]
        self._view = View()
        self._disturbed = ""
        # Pods of Jobs as last seen: a Job may be gone with them the moment it ends.
        self._pods_of_jobs: dict[str, Json] = {}
        self._inbox: Inbox = queue.SimpleQueue()
        self._stop = threading.Event()
        self._followers = Followers(api, self._inbox, self._stop)

    def until_ready(self, kinds: Kinds, seconds: float) -> None:
        """Return when every target is ready.

        Raises Failure where a target failed, or never becomes ready; TimedOut where some are not ready in
        time; the message says what each waits for.
        """
        deadline = time.monotonic() + seconds
        watched = [(kinds[key], namespace) for key, namespace in places_to_watch(self._pending)]
        with watching(self._api, watched, self._inbox, self._stop):
            while self._pending:
                signals.check()
                if time.monotonic() > deadline:
                    raise self._timed_out(seconds)
                for one in self._news():
                    self._take(one)
                self._judge_all()
            self._follow_the_rest()
            self._hear_out(self._pods_of_jobs)

    def _news(self) -> list[News]:
        """What has happened since the last look; nothing where that takes longer than a tick."""
        with suppress(queue.Empty):
            news = [self._inbox.get(timeout=TICK)]
            while not self._inbox.empty():
                news.append(self._inbox.get())
            return news
        return []

    def _hear_out(self, pods: Collection[str]) -> None:
        """Hear what the logs of pods that have ended still have to say."""
        self._followers.finish(pods, SECONDS_FOR_LAST_LOG_LINES)
        while not self._inbox.empty():
            if isinstance(one := self._inbox.get(), LogLine):
                self._hear(one)

    def _hear(self, one: LogLine) -> None:
        self._record.hear(one)
        self._tell(one)

    def _take(self, news: News) -> None:
        match news:
            case Listed(kind, namespace, things):
                self._view.replace_kind(kind, namespace, things)
                self._note_missing(kind, namespace, {thing["metadata"]["uid"] for thing in things})
                for thing in things:
                    self._follow_log(thing)
            case Seen(thing):
                self._view.put(thing)
                self._follow_log(thing)
            case Gone(thing):
                self._view.drop(thing)
                self._note_deletion(thing)
            case LogLine():
                self._hear(news)
            case Disturbed(problem):
                self._note_disturbance(problem)
            case Broken(failure):
                raise failure

    def _follow_log(self, thing: Json) -> None:
        jobs = {target.uid for target in self._pending.values() if target.ref.is_job}
        if thing["kind"] == "Pod" and owners(thing) & jobs:
            self._pods_of_jobs[thing["metadata"]["uid"]] = thing
            self._followers.follow(thing)

    def _follow_the_rest(self) -> None:
        """Follow what the watch of pods has not told yet: a Job's end comes over another connection."""
        for job in self._jobs:
            for pod in pods_of_job(self._api, job.ref.namespace, job.uid):
                self._pods_of_jobs[pod["metadata"]["uid"]] = pod
                self._followers.follow(pod)

    def _note_missing(self, kind: tuple[str, str], namespace: str, present: Collection[str]) -> None:
        """A target that a list lacks was deleted between two watches; a Job perhaps by its time to live."""
        for target in list(self._pending.values()):
            place = target.ref.key, target.ref.namespace
            if place != (kind, namespace) or target.uid in present:
                continue
            is_job, uid = target.ref.is_job, target.uid
            if not target.is_replaced and not (is_job and has_completed(self._api, namespace, uid)):
                raise self._deleted(target)
            self._done(target, GONE if target.is_replaced else "complete, and removed since")

    def _note_deletion(self, thing: Json) -> None:
        """A target was deleted; a Job may be when it has ended, by its time to live."""
        target = next((one for one in self._pending.values() if one.uid == thing["metadata"]["uid"]), None)
        if target is None:
            return
        if target.is_replaced:
            self._done(target, GONE)
            return
        if not target.ref.is_job or not job_outcome(thing):
            raise self._deleted(target)
        self._judge(target, thing)

    def _deleted(self, target: Target) -> Failure:
        last = self._record.rows[target.ref].words
        self._record.end(target.ref, Result.FAILED, "deleted during the deploy")
        return Failure(
            f"{target.ref} was deleted while this deploy waited for it.",
            f"Last state seen: {last}.",
            "Find out who deletes it, then deploy again: that recreates it.",
        )

    def _note_disturbance(self, problem: str) -> None:
        if bool(problem) != bool(self._disturbed):
            lost = f"The API server does not answer ({problem}); trying again."
            self._tell(Notice(lost if problem else "The API server answers again."))
        self._disturbed = problem

    def _judge_all(self) -> None:
        for target in list(self._pending.values()):
            live = self._view.get(target.ref)
            if live is None or live["metadata"]["uid"] != target.uid:
                continue
            if live["metadata"].get("generation", 0) < target.generation:
                continue
            if is_going(live) and not job_outcome(live):
                continue  # however well it does, it goes
            self._judge(target, live)

    def _judge(self, target: Target, live: Json) -> None:
        found = judge(target, live, self._view, self._limits)
        match found.outcome:
            case Outcome.DONE:
                self._record.note(target.ref, Result.READY, "", tally(live))
                self._done(target, found.reason)
            case Outcome.FAILED:
                raise self._failed(target, live, found)
            case Outcome.WAITING:
                self._delete_stuck(target, found.stuck)
                self._record.note(target.ref, Result.WAITING, found.reason, tally(live))
                self._say(target, found.reason)

    def _done(self, target: Target, text: str) -> None:
        self._record.end(target.ref, Result.COMPLETE if target.ref.is_job else Result.READY)
        self._say(target, text)
        del self._pending[target.ref]

    def _delete_stuck(self, target: Target, stuck: Sequence[Json]) -> None:
        """Delete broken pods of an earlier state that hold a StatefulSet's rollout up: they serve nobody."""
        for pod in stuck:
            name, metadata = pod["metadata"]["name"], pod["metadata"]
            # No state, which the next one might displace.
            self._tell(Notice(f"{target.ref}: deleting broken pod {name} of the previous revision"))
            options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": metadata["uid"]}}
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{name}"
            try:
                self._api.request("DELETE", path, doing=f"delete pod {name}", body=options)
            except ApiError as error:
                if error.status not in {404, 409}:  # the controller was faster
                    raise
            self._view.drop(pod)

    def _failed(self, target: Target, live: Json, found: Verdict) -> Failure:
        pods = self._pods_of_job(target, live) if target.ref.is_job else self._view.pods_of(live)
        namespace, heard = target.ref.namespace or self._namespace, self._record.heard
        failure = failed(self._api, target.ref, namespace, found.reason, live, found.problems, pods, heard)
        reason = found.problems[0][0].reason if found.problems else found.reason
        self._record.end(target.ref, Result.FAILED, reason)
        return failure

    def _pods_of_job(self, job: Target, live: Json) -> list[Json]:
        """A failed Job's pods, those that went with it included, once their logs are heard."""
        present = self._view.pods_of(live) or pods_of_job(self._api, job.ref.namespace, job.uid)
        if present:
            return present
        gone = {uid: pod for uid, pod in self._pods_of_jobs.items() if job.uid in owners(pod)}
        self._hear_out(gone)
        return list(gone.values())

    def _say(self, target: Target, text: str) -> None:
        """Tell what is new about a target at once; how often an object may speak is for those who show it."""
        if text != target.said:
            target.said = text
            self._tell(Told(target.ref, text))

    def _timed_out(self, seconds: float) -> TimedOut:
        lines = [f"{ref}: {self._record.rows[ref].words}" for ref in self._pending]
        lines += [f"{ref} is still running: {how_to_end(ref)}." for ref in self._pending if ref.is_job]
        if self._disturbed:
            lines.append(f"The API server does not answer: {self._disturbed}")
        for ref in self._pending:
            self._record.end(ref, Result.TIMED_OUT, self._record.rows[ref].detail)
        return TimedOut(
            f"{len(self._pending)} of the workloads were not ready within {round(seconds, 1):g} s.",
            "\n".join(lines),
            "They keep starting in the background. Look at their pods, then deploy again. In invoke.yaml, "
            "time_limits.rollout and time_limits.job limit the wait for a phase, time_limits.deploy the "
            "whole deploy, and time_limits.rollback a rollback.",
        )


def places_to_watch(refs: Iterable[Ref]) -> list[tuple[tuple[str, str], str]]:
    """The kinds that waiting for these objects needs, each with its namespace, each once."""
    places: dict[tuple[tuple[str, str], str], None] = {}
    for ref in refs:
        keys = (ref.key, *WATCHED_WITH.get(ref.kind, ()))
        places.update(dict.fromkeys((key, ref.namespace) for key in keys))
    return list(places)
