"""What the state of an environment means: its rows, and what needs attention with what to do about it.

All of it follows from what `observe` saw.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from tasks.lib.cluster.api import Json
from tasks.lib.console import spoken
from tasks.lib.deploy import maintenance
from tasks.lib.deploy.events import ReleaseResult
from tasks.lib.deploy.lock.holder import describe
from tasks.lib.deploy.maintenance import Maintenance, Stage
from tasks.lib.deploy.objects import Ref, ref_of
from tasks.lib.deploy.output.releases import ended
from tasks.lib.deploy.rollout.cluster_view import View
from tasks.lib.deploy.rollout.failure_rules import Problem
from tasks.lib.deploy.rollout.readiness import State, condition, job_outcome, readiness, tally
from tasks.lib.operate import run
from tasks.lib.operate.certificates import Certificate, certificates
from tasks.lib.operate.observe import Observed, observe_all
from tasks.lib.operate.workloads import RESTORE, bare, is_stopped
from tasks.lib.settings.model import Environment, Settings

# Backups are taken every day; cert-manager renews a certificate 30 days before its end.
OLD_BACKUP: Final = timedelta(hours=36)
DAYS_LEFT: Final = 21
# Enough for an upgrade of staging, a release or two on it, and one of production.
UPGRADE_WITHIN: Final = timedelta(days=60)
LATELY: Final = timedelta(hours=1)
# A holder renews its lock every 5 s.
SILENT_HOLDER: Final = timedelta(minutes=1)
# A kubelet may be three minor versions older than the API server.
MOST_MINORS: Final = 3
WELL: Final = frozenset(
    {ReleaseResult.DEPLOYED, ReleaseResult.BEFORE, ReleaseResult.RECOVERED, ReleaseResult.UNKNOWN}
)
DEPRECATED: Final = re.compile(
    r"(?P<api>\S+) (?P<kind>\S+) is deprecated in (?P<since>v[\d.]+)\+"
    r"(?:, unavailable in (?P<until>v[\d.]+)\+)?(?:; use (?P<instead>[^\"]+))?"
)


@dataclass(frozen=True)
class Attention:
    """Something that somebody should look at."""

    what: str
    do: str


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet."""

    kind: str
    name: str
    ready: str  # ready and desired, as 1/2
    state: str
    restarts: int
    images: Sequence[str]
    oldest_pod: datetime | None
    reason: str  # what is wrong, or why a container last ended; empty for neither


@dataclass(frozen=True)
class Job:
    """A Job, and how its last run ended."""

    name: str
    result: str
    ended: datetime | None


@dataclass(frozen=True)
class Backup:
    """The newest backup of the database."""

    began: datetime
    state: str


@dataclass(frozen=True)
class Overview:
    """An environment at one moment."""

    environment: str
    at: datetime
    attention: Sequence[Attention]
    release: Mapping[str, object] | None
    lock: str  # who holds it; empty where it is free
    drift: int | None  # None where it is not known
    backup: Backup | None
    certificates: Sequence[Certificate]
    activated: Sequence[Mapping[str, object]]
    version: str
    node_versions: Sequence[str]
    supported_until: datetime | None  # where GKE says so
    workloads: Sequence[Workload]
    jobs: Sequence[Job]
    maintenance: Mapping[str, object] | None  # None where it is off


def look(settings: Settings, environments: Sequence[Environment]) -> list[Overview]:
    """The state of each environment, all looked at at the same time."""
    return [overview(seen) for seen in observe_all(settings, environments)]


def overview(seen: Observed) -> Overview:
    """What was seen of an environment, in order, without secret values."""
    view = View()
    for (key, namespace), things in seen.things.items():
        view.replace_kind(key, namespace, things)
    used = certificates(seen.of_kind("Ingress"), seen.of_kind("Secret"), seen.at)
    found = [
        *_of_parts(seen),
        *_of_maintenance(seen),
        *_of_release(seen),
        *_of_workloads(seen, view),
        *_of_jobs(seen),
        *_of_runs(seen),
        *_of_certificates(seen, used),
        *_of_drift(seen),
        *_of_backup(seen),
        *_of_lock(seen),
        *_of_versions(seen),
        *_of_support(seen),
        *_of_deprecated(seen),
    ]
    blank = seen.redactor.line
    return Overview(
        seen.environment.name, seen.at, [Attention(blank(one.what), blank(one.do)) for one in found],
        _release(seen), _lock(seen), None if seen.drifted is None else len(seen.drifted), _backup(seen), used,
        [{"app": one.app, "revision": one.revision, "at": one.at} for one in seen.activated],
        seen.version, seen.node_versions, seen.supported_until,
        [workload(seen, view, one) for one in _workloads(seen)], [job(one) for one in seen.of_kind("Job")],
        asdict(seen.maintenance) if seen.maintenance else None,
    )  # fmt: skip


def workload(seen: Observed, view: View, live: Json) -> Workload:
    """The row of one workload."""
    pods, found = view.pods_of(live), view.problems_of(live)
    statuses = [one for pod in pods for one in _statuses(pod)]
    return Workload(
        live["kind"], live["metadata"]["name"], tally(live), readiness(live).state.value,
        sum(one.get("restartCount", 0) for one in statuses), _images(live),
        min((_moment(pod["metadata"]["creationTimestamp"]) for pod in pods), default=None),
        seen.redactor.line(_brief(found[0][0]) if found else _last_end(statuses, seen.at)),
    )  # fmt: skip


def job(live: Json) -> Job:
    """The row of one Job."""
    outcome = job_outcome(live)
    last = condition(live, outcome).get("lastTransitionTime") if outcome else None
    return Job(live["metadata"]["name"], readiness(live).reason, _moment(last) if last else None)


def aged(since: datetime | None, at: datetime) -> str:
    """How long ago something was, as `3 h 05 min`, or `12 d`; empty for nothing."""
    if since is None:
        return ""
    seconds = max((at - since).total_seconds(), 0)
    return f"{seconds / 86400:.0f} d" if seconds >= 2 * 86400 else spoken(round(seconds))


def _of_parts(seen: Observed) -> Iterator[Attention]:
    """What could not be looked at; refusals for the same reason as one."""
    by_next: dict[str, list[str]] = {}
    for one in seen.unknown:
        by_next.setdefault(one.failure.next_step, []).append(f"{one.part} ({one.failure.what})")
    for next_step, parts in by_next.items():
        yield Attention(f"Could not look at {'; '.join(parts)}", next_step)


def _of_maintenance(seen: Observed) -> Iterator[Attention]:
    now, name = seen.maintenance, seen.environment.name
    if now is None:
        return
    on, off = (f"./inv app.maintenance --{which} --environment {name}" for which in ("on", "off"))
    age = f"since {now.since} ({aged(_moment(now.since), seen.at)}), by {now.who}" if now.since else ""
    left = _not_done(seen, now)
    if left and not _is_deploying(seen):
        yield Attention(f"Maintenance mode is half on {age}: {left}", f"{on} turns it on, {off} turns it off")
    else:
        yield Attention(f"Maintenance mode is {now.stage} {age}: {now.message or maintenance.DEFAULT}", off)


def _not_done(seen: Observed, now: Maintenance) -> str:
    """What a task that was killed has left of turning it on or off; empty for nothing."""
    if now.stage is Stage.ENDING:
        return "turning it off was not finished."
    services = [one for one in seen.of_kind("Service") if maintenance.before(one)]
    if now.stage is Stage.PREPARING or not services:
        return "visitors still get the site."
    working = [
        bare(one, seen.environment)
        for one in _workloads(seen)
        if one["spec"].get("replicas", 1) and maintenance.is_worker(one, seen.environment, seen.image)
    ]
    return f"these still work: {', '.join(working)}." if working else ""


def _of_release(seen: Observed) -> Iterator[Attention]:
    name = seen.environment.name
    if not seen.past:
        if not any(one.part in {"cluster", "ConfigMap"} for one in seen.unknown):
            yield Attention("Nothing was deployed yet.", f"./inv deploy --branch {seen.environment.branch}")
        return
    newest = seen.past[0]
    if newest.result not in WELL:
        yield Attention(
            f"Release {newest.number}, commit {newest.commit}: {ended(newest)}; what it applied stays.",
            f"Deploy again, or ./inv release.rollback --environment {name}",
        )


def _of_workloads(seen: Observed, view: View) -> Iterator[Attention]:
    stopped = [one["metadata"]["name"] for one in _workloads(seen) if is_stopped(one, RESTORE)]
    if stopped:
        yield Attention(
            f"A restore of the database has stopped {', '.join(stopped)}.",
            "It starts them again; if it was killed or failed, when the data are good: "
            f"./inv database.start --environment {seen.environment.name}",
        )
    for live in _workloads(seen):
        found, now = view.problems_of(live), readiness(live)
        title = f"{live['kind']} {live['metadata']['name']}"
        last, times = _last_restart(view.pods_of(live))
        if found or (now.state is not State.READY and not _is_deploying(seen)):
            why = "; ".join(dict.fromkeys(str(problem) for problem, _ in found[:2])) or now.reason
            yield Attention(
                f"{title}: {tally(live)} ready: {why}", f"{_logs(seen, live, last)}; {_look(ref_of(live))}"
            )
        elif last and seen.at - _moment(last["finishedAt"]) < LATELY:
            yield Attention(
                f"{title}: restarted {times} times, last {aged(_moment(last['finishedAt']), seen.at)} ago "
                f"({last.get('reason', '?')}, exit code {last.get('exitCode', '?')})",
                f"{_logs(seen, live, last)}; {_look(ref_of(live))}",
            )


def _of_jobs(seen: Observed) -> Iterator[Attention]:
    for live in seen.of_kind("Job"):
        if job_outcome(live) == "Failed" and not run.is_attended(live):
            yield Attention(f"Job {live['metadata']['name']}: {readiness(live).reason}", _look(ref_of(live)))


def _of_runs(seen: Observed) -> Iterator[Attention]:
    """Jobs of app.run: a task removes its own, so one that stays may be of a task that was killed."""
    histories = [one for one in seen.of_kind("ConfigMap") if one["metadata"]["name"] == run.HISTORY]
    known = {one.name: one for history in histories for one in run.read(history.get("data") or {})}
    for live in filter(run.is_attended, seen.of_kind("Job")):
        one = known.get(live["metadata"]["name"])
        whose = f", `{one.command}` of {one.who}" if one else ""
        yield Attention(
            f"Job {live['metadata']['name']}{whose}: {readiness(live).reason}; "
            "its app.run waits for it, or was killed.",
            f"If nobody waits: {ref_of(live).command('delete')}; else it goes a day after its end.",
        )


def _of_certificates(seen: Observed, used: Sequence[Certificate]) -> Iterator[Attention]:
    if any(one.part in {"Secret", "Ingress", "cluster"} for one in seen.unknown):
        return
    namespace = seen.environment.namespace
    for one in used:
        hosts, look = ", ".join(one.hosts), f"kubectl -n {namespace} describe certificate {one.secret}"
        if one.days is None:
            yield Attention(f"Certificate {one.secret} for {hosts}: {one.problem}", look)
        elif one.days < DAYS_LEFT:
            state = f"has {one.days} days left" if one.days >= 0 else f"expired {-one.days} days ago"
            yield Attention(
                f"Certificate {one.secret} for {hosts} {state}; cert-manager renews it at 30.", look
            )


def _of_drift(seen: Observed) -> Iterator[Attention]:
    if seen.drifted and seen.release:
        names = ", ".join(f"{one.ref} ({one.state})" for one in seen.drifted[:4])
        more = f" and {len(seen.drifted) - 4} more" if len(seen.drifted) > 4 else ""
        yield Attention(
            f"{len(seen.drifted)} objects have drifted from release {seen.release.number}: {names}{more}",
            f"./inv release.status --environment {seen.environment.name}",
        )


def _of_backup(seen: Observed) -> Iterator[Attention]:
    database, known = seen.environment.database, seen.backup
    if not database.instance or any(one.part == "backups" for one in seen.unknown):
        return
    look = f"gcloud sql backups list --instance={database.name} --project={database.project}"
    if known is None:
        yield Attention(f"{database.instance} has no backup.", look.replace(" list ", " create "))
    elif known.status == "FAILED" or seen.at - known.enqueued > OLD_BACKUP:
        age = aged(known.enqueued, seen.at)
        yield Attention(f"The newest backup of {database.instance} is {age} old: {known.status}", look)


def _of_lock(seen: Observed) -> Iterator[Attention]:
    if seen.lease and _lock(seen) and not _is_deploying(seen):
        yield Attention(
            f"A dead deploy's lock: {describe(seen.lease)}",
            "The next deploy takes it over, or "
            f'./inv release.unlock --environment {seen.environment.name} --by NAME --reason "…"',
        )


def _of_support(seen: Observed) -> Iterator[Attention]:
    environment = seen.environment
    if not seen.supported_until or seen.supported_until - seen.at > UPGRADE_WITHIN:
        return
    days = (seen.supported_until - seen.at).days
    ends = f"ends in {days} days" if days >= 0 else f"ended {-days} days ago"
    yield Attention(
        f"GKE's standard support of {seen.version} {ends}, on {seen.supported_until:%Y-%m-%d}.",
        f"gcloud container clusters upgrade {environment.cluster} --master --location={environment.zone} "
        f"--project={environment.project}",
    )


def _of_versions(seen: Observed) -> Iterator[Attention]:
    plane = _minor(seen.version)
    for version in seen.node_versions:
        if plane - _minor(version) >= MOST_MINORS > 0 and _minor(version):
            yield Attention(
                f"Nodes run {version}, {plane - _minor(version)} minor versions behind {seen.version}.",
                f"gcloud container clusters upgrade {seen.environment.cluster} --node-pool …",
            )


def _of_deprecated(seen: Observed) -> Iterator[Attention]:
    """Versions of APIs that the release uses and that the server warns of."""
    used = {(one["apiVersion"], one["kind"]) for one in _objects(seen)}
    for warning in seen.warnings:
        said = DEPRECATED.search(warning.replace('299 - "', ""))
        if said and (said["api"], said["kind"]) in used:
            end = f", and gone in {said['until']}" if said["until"] else ""
            yield Attention(
                f"The manifests use {said['api']} {said['kind']}, deprecated since {said['since']}{end}.",
                f"Use {said['instead'] or 'its newer version'} in the manifests.",
            )


def _objects(seen: Observed) -> list[Json]:
    return seen.release.objects() if seen.release and seen.release.packed else []


def _release(seen: Observed) -> Mapping[str, object] | None:
    one = seen.release
    if one is None:
        return None
    facts = one.facts
    who = facts.get("who", "?").partition(" (")[0]
    told = {key: facts[key] for key in ("commit", "branch", "tag", "began") if facts.get(key)}
    return {"number": one.number, **told, "who": who, "result": ended(one), "behind": seen.behind}


def _lock(seen: Observed) -> str:
    held = seen.lease and seen.lease["spec"].get("holderIdentity")
    return seen.redactor.line(describe(seen.lease)) if seen.lease and held else ""


def _is_deploying(seen: Observed) -> bool:
    """Whether somebody holds the lock and renews it, as far as this machine's clock tells."""
    renewed = seen.lease and seen.lease["spec"].get("renewTime")
    return bool(renewed and _lock(seen) and abs(seen.at - _moment(renewed)) < SILENT_HOLDER)


def _backup(seen: Observed) -> Backup | None:
    return Backup(seen.backup.enqueued, seen.backup.status) if seen.backup else None


def _workloads(seen: Observed) -> list[Json]:
    return sorted(
        seen.of_kind("Deployment", "StatefulSet", "DaemonSet"), key=lambda one: str(one["metadata"]["name"])
    )


def _logs(seen: Observed, live: Json, last: Json) -> str:
    """The command that shows what a workload wrote, before its last restart where there was one."""
    previous = " --previous" if last else ""
    return f"./inv app.logs {bare(live, seen.environment)} --environment {seen.environment.name}{previous}"


def _look(ref: Ref) -> str:
    return f"{ref.command('describe')}; docs/on-call.md says what each reason means"


def _brief(problem: Problem) -> str:
    return f"{problem.reason} ({problem.container})" if problem.container else problem.reason


def _images(live: Json) -> tuple[str, ...]:
    return tuple(str(one.get("image", "")) for one in live["spec"]["template"]["spec"]["containers"])


def _statuses(pod: Json) -> list[Json]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def _last_restart(pods: Iterable[Json]) -> tuple[Json, int]:
    """How the container that was restarted last had ended, and how often all were; empty for never."""
    statuses = [one for pod in pods for one in _statuses(pod)]
    ends = [end for one in statuses if (end := (one.get("lastState") or {}).get("terminated"))]
    last: Json = max(
        (one for one in ends if one.get("finishedAt")), key=lambda one: str(one["finishedAt"]), default={}
    )
    return last, sum(one.get("restartCount", 0) for one in statuses)


def _last_end(statuses: Sequence[Json], at: datetime) -> str:
    last, _ = _last_restart([{"status": {"containerStatuses": list(statuses)}}])
    if not last:
        return ""
    return f"{last.get('reason', '?')} {aged(_moment(last['finishedAt']), at)} ago"


def _minor(version: str) -> int:
    """The minor version of `v1.34.1-gke.100`; 0 for what is none."""
    match = re.match(r"v?1\.(\d+)", version)
    return int(match[1]) if match else 0


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)
