"""What needs attention, from what was seen."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.lib.deploy import maintenance
from tasks.lib.deploy.backup.cloud_sql import Run
from tasks.lib.deploy.history import Release, pack
from tasks.lib.deploy.maintenance import Maintenance, Stage
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.releases.drift import Drifted
from tasks.lib.errors import Failure
from tasks.lib.operate import screen
from tasks.lib.operate.observe import Observed, Unknown
from tasks.lib.operate.overview import Overview, aged, overview
from tasks.lib.operate.run import DETACHED
from tasks.lib.redaction import Redactor
from tests.builders import checked_in_settings
from tests.certificates import certificate

Thing = dict[str, Any]
STAGING = checked_in_settings().environment("staging")
IMAGE = "gcr.io/x/lookit"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def ago(**time: float) -> str:
    return (NOW - timedelta(**time)).isoformat()


def metadata(name: str, owner: str = "", **more: Any) -> Thing:
    owners = [{"uid": owner, "controller": True}] if owner else []
    return {
        "name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "1",
        "creationTimestamp": ago(hours=3), "ownerReferences": owners, **more,
    }  # fmt: skip


def stateful_set(ready: int = 1) -> Thing:
    status = {
        "observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": ready,
        "currentRevision": "r", "updateRevision": "r",
    }  # fmt: skip
    image = "gcr.io/x/lookit:" + "a" * 40 + "@sha256:" + "b" * 64
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata("builder", generation=1),
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "image": image}]}}},
        "status": status,
    }


def pod(state: Thing, ready: bool = True, restarts: int = 0, last: Thing | None = None) -> Thing:
    container = {
        "name": "main", "ready": ready, "restartCount": restarts, "state": state,
        "lastState": {"terminated": last} if last else {},
    }  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata("builder-0", "uid-builder", labels={"controller-revision-hash": "r"}),
        "spec": {"containers": [{"name": "main"}]},
        "status": {"phase": "Running", "containerStatuses": [container]},
    }


def job(outcome: str) -> Thing:
    ended = {
        "type": outcome,
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "lastTransitionTime": ago(hours=2),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata("migration"),
        "spec": {},
        "status": {"conditions": [ended]},
    }


def left(outcome: str, **annotations: str) -> Thing:
    """The Job of a command of app.run."""
    labels = {"lookit-orchestrator/run": "staging-run-1"}
    return {**job(outcome), "metadata": metadata("staging-run-1", labels=labels, annotations=annotations)}


def history() -> Thing:
    """What app.run has noted of that command."""
    noted = {"name": "staging-run-1", "who": "kim@laptop", "command": "python x.py", "began": ago(hours=2)}
    data = {"staging-run-1": json.dumps(noted)}
    metadata_of_it = metadata("lookit-orchestrator-runs")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata_of_it, "data": data}


def ingress() -> Thing:
    tls = [{"secretName": "cert", "hosts": ["example.org"]}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata("web"),
        "spec": {"tls": tls},
    }


def secret(days: int | None) -> Thing:
    pem = b"none" if days is None else certificate("example.org", NOW + timedelta(days=days, hours=1))
    data = {"tls.crt": base64.b64encode(pem).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("cert"), "data": data}


def lease(renewed: float) -> Thing:
    spec = {
        "holderIdentity": "kim@laptop (1)",
        "acquireTime": ago(minutes=9),
        "renewTime": ago(seconds=renewed),
    }
    return {"metadata": metadata("lookit-orchestrator"), "spec": spec}


def release(number: int = 3, result: str = "deployed", *objects: Thing) -> Release:
    wanted = [Wanted(Ref(one["apiVersion"], one["kind"], "default", "x"), one) for one in objects]
    facts = {"result": result, "commit": "c" * 40, "began": ago(hours=5), "who": "kim@laptop (1)"}
    return Release(number, facts, pack(wanted))


def backup(status: str = "SUCCESSFUL", **age: float) -> Run:
    return Run("17", NOW - timedelta(**age), status, "AUTOMATED", "")


def seen(*things: Thing, **changes: Any) -> Observed:
    """An environment in which all is well, but for these objects and changes."""
    one = release()
    found = Observed(STAGING, Redactor(["a-secret-value"]), IMAGE, NOW, past=[one], release=one, drifted=[])
    found.backup = backup(hours=5)
    for thing in things:
        found.things.setdefault(((thing["apiVersion"], thing["kind"]), "default"), []).append(thing)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


RUNNING: Thing = {"running": {}}
CRASHING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off of a-secret-value"}}
KILLED = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": ago(minutes=12)}
LONG_AGO = {**KILLED, "finishedAt": ago(hours=9)}
FORBIDDEN = Failure("The cluster refused to list secrets.", "", "Ask an owner.")
ENDPOINTS = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "x"}}
WARNING = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'


@pytest.mark.parametrize(
    "well",
    [
        seen(),
        seen(stateful_set(), pod(RUNNING)),
        seen(stateful_set(), pod(RUNNING, restarts=2, last=LONG_AGO)),
        seen(stateful_set(ready=0), pod(RUNNING, ready=False), lease=lease(3)),
        seen(job("Complete")),
        seen(left("Complete", **{DETACHED: "true"}), history()),
        seen(ingress(), secret(60)),
        seen(version="1.36.3-gke.1", node_versions=["1.35.1-gke.2"]),
        seen(version="1.36.3-gke.1", supported_until=NOW + timedelta(days=61)),
        seen(warnings=[WARNING]),
        seen(past=[release(4, "failed, rolled back"), release()]),
    ],
    ids=[
        "empty", "a workload", "an old restart", "during a deploy", "a Job", "a detached command",
        "a certificate", "an upgrade", "support",
        "a warning about what no manifest uses", "rolled back",
    ],
)  # fmt: skip
def test_nothing_needs_attention_where_all_is_well(well: Observed) -> None:
    assert [*overview(well).attention] == []


@pytest.mark.parametrize(
    ("found", "what", "do"),
    [
        (seen(stateful_set(0), pod(CRASHING, ready=False)), "StatefulSet builder: 0/1 ready: pod builder-0, "
         "container main: CrashLoopBackOff: ", "kubectl -n default describe statefulset builder"),
        (seen(stateful_set(0)), "StatefulSet builder: 0/1 ready: 0 of 1 ready", "describe statefulset builder"),
        (seen(stateful_set(), pod(RUNNING, restarts=2, last=KILLED)),
         "builder: restarted 2 times, last 12 min 00 s ago (OOMKilled, exit code 137)", "./inv app.logs builder --environment staging --previous; kubectl"),
        (seen(job("Failed")), "Job migration: BackoffLimitExceeded", "describe job migration"),
        (seen(left("Failed"), history()), "Job staging-run-1, `python x.py` of kim@laptop: BackoffLimitExceeded; its "
         "app.run waits for it, or was killed.", "If nobody waits: kubectl -n default delete job staging-run-1"),
        (seen(left("Failed", **{DETACHED: "true"})), "Job staging-run-1: BackoffLimitExceeded", "describe job"),
        (seen(ingress()), "Certificate cert for example.org: there is no Secret cert", "describe certificate cert"),
        (seen(ingress(), secret(None)), "its tls.crt is no certificate", "describe certificate cert"),
        (seen(ingress(), secret(5)), "has 5 days left", "describe certificate cert"),
        (seen(ingress(), secret(-3)), "expired 3 days ago", "describe certificate cert"),
        (seen(drifted=[Drifted(Ref("v1", "Service", "default", "web"), "missing")]),
         "1 objects have drifted from release 3: Service web (missing)", "./inv release.status --environment staging"),
        (seen(backup=None), "has no backup.", "gcloud sql backups create"),
        (seen(backup=backup(days=3)), "is 3 d old", "gcloud sql backups list"),
        (seen(backup=backup("FAILED", hours=1)), "FAILED", "gcloud sql backups list"),
        (seen(lease=lease(600)), "A dead deploy's lock: kim@laptop (1)", "./inv release.unlock --environment staging"),
        (seen(past=[release(4, "killed"), release()]), "Release 4, commit ccccccc: killed; what it applied stays.",
         "./inv release.rollback --environment staging"),
        (seen(past=[], release=None, drifted=None), "Nothing was deployed yet.", "./inv deploy --branch develop"),
        (seen(version="1.36.3-gke.1", node_versions=["1.33.9-gke.2"]), "3 minor versions behind", "--node-pool"),
        (seen(version="1.36.3-gke.1", supported_until=NOW + timedelta(days=20)),
         "GKE's standard support of 1.36.3-gke.1 ends in 20 days, on 2026-05-24.",
         "gcloud container clusters upgrade lookit-staging --master"),
        (seen(version="1.36.3-gke.1", supported_until=NOW - timedelta(days=3)), "ended 3 days ago", "--master"),
        (seen(release=release(3, "deployed", ENDPOINTS), warnings=[WARNING]),
         "The manifests use v1 Endpoints, deprecated since v1.33.", "Use discovery.k8s.io/v1 EndpointSlice"),
        (seen(unknown=[Unknown("Secret", FORBIDDEN), Unknown("Pod", FORBIDDEN)]), "Could not look at Secret (The cluster",
         "Ask an owner."),
    ],
    ids=[
        "crashing", "not ready", "restarted lately", "a failed Job", "a command that was left",
        "a failed detached command", "no certificate", "a broken certificate",
        "a certificate that ends soon", "an expired certificate", "drift", "no backup", "an old backup",
        "a failed backup", "a dead deploy's lock", "a killed deploy", "no release", "old nodes",
        "end of support near", "end of support past",
        "a deprecated API", "no permission",
    ],
)  # fmt: skip
def test_what_needs_attention_says_what_to_do(found: Observed, what: str, do: str) -> None:
    [item] = overview(found).attention

    assert what in item.what
    assert do in item.do


def test_secret_values_are_not_shown() -> None:
    shown = overview(seen(stateful_set(0), pod(CRASHING, ready=False)))

    assert "back-off of [redacted]" in shown.attention[0].what
    assert "a-secret-value" not in repr(shown)


def test_a_workload_is_one_row() -> None:
    [row] = overview(seen(stateful_set(), pod(RUNNING, restarts=2, last=KILLED))).workloads

    assert (row.name, row.ready, row.state, row.restarts) == ("builder", "1/1", "ready", 2)
    assert row.oldest_pod == NOW - timedelta(hours=3)
    assert row.reason == "OOMKilled 12 min 00 s ago"
    assert screen.short(row.images) == "lookit:aaaaaaa"


def a_full_overview() -> Overview:
    activated = [{"app": "study-1", "revision": "0123456789ab", "at": NOW}]
    found = seen(
        stateful_set(0), pod(CRASHING, ready=False), job("Complete"), ingress(), secret(60), behind=4
    )
    found.version, found.node_versions = "1.36.3", ["1.36.3"]
    one = overview(found)
    object.__setattr__(one, "activated", activated)
    return one


def test_attention_comes_first_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show([a_full_overview()])

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("! staging: StatefulSet builder: 0/1 ready")
    assert lines[1].startswith(
        "    next: ./inv app.logs builder --environment staging; kubectl -n default describe"
    )
    said = "\n".join(lines)
    for line in (
        "release:      3, commit ccccccc: deployed, 5 h 00 min ago, by kim@laptop, 4 commits behind its branch",
        "lock:         free",
        "drift:        none",
        "backup:       SUCCESSFUL, 5 h 00 min ago",
        "certificates: cert: 60 days left",
        "Ember:        study-1 → 0123456789ab",
        "cluster:      1.36.3, nodes 1.36.3",
        "Jobs:         migration: complete, 2 h 00 min ago",
    ):
        assert line in said


def test_json_has_everything_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen.emit_json([a_full_overview()])

    [line] = capsys.readouterr().out.splitlines()
    [one] = json.loads(line)
    assert (one["environment"], one["at"], one["drift"]) == ("staging", NOW.isoformat(), 0)
    assert one["release"]["behind"] == 4
    assert one["workloads"][0]["ready"] == "0/1"
    assert one["certificates"][0]["days"] == 60


def test_the_page_has_text_where_the_cluster_has_markup(tmp_path: Any) -> None:
    found = a_full_overview()
    object.__setattr__(found.workloads[0], "name", "<script>x</script>")

    screen.write_page([found], str(tmp_path / "status.html"))

    page = (tmp_path / "status.html").read_text()
    assert "! staging: StatefulSet builder" in page
    assert "&lt;script&gt;x" in page
    assert "<script>" not in page


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ({"seconds": 5}, "5.0 s"),
        ({"hours": 30}, "30 h 00 min"),
        ({"days": 12}, "12 d"),
        ({"seconds": -5}, "0.0 s"),
    ],
)
def test_an_age_is_told_in_its_largest_units(time: dict[str, float], said: str) -> None:
    assert aged(NOW - timedelta(**time), NOW) == said


def turned(selector: str = '{"app": "web"}') -> Thing:
    notes = {maintenance.SELECTOR: selector}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata("web", annotations=notes), "spec": {}}


def of_maintenance(stage: Stage, *things: Thing, **changes: Any) -> list[str]:
    noted = Maintenance(stage, "Back at 10:00.", "kim@laptop", ago(hours=2), "")
    found = overview(seen(*things, maintenance=noted, **changes))
    assert found.maintenance
    return [f"{one.what} next: {one.do}" for one in found.attention if "aintenance" in one.what]


def test_maintenance_mode_says_since_when_by_whom_and_how_it_ends() -> None:
    stopped = stateful_set(ready=0)
    stopped["spec"]["replicas"] = 0

    assert of_maintenance(Stage.ON, turned(), stopped) == [
        f"Maintenance mode is on since {ago(hours=2)} (2 h 00 min), by kim@laptop: Back at 10:00. "
        "next: ./inv app.maintenance --off --environment staging"
    ]


@pytest.mark.parametrize(
    ("stage", "things", "left"),
    [
        (Stage.PREPARING, [], "visitors still get the site."),
        (Stage.ON, [], "visitors still get the site."),
        (Stage.ON, [turned(), stateful_set()], "these still work: builder."),
        (Stage.ENDING, [turned()], "turning it off was not finished."),
    ],
    ids=["no page yet", "page not shown", "workers not stopped", "ending"],
)
def test_maintenance_mode_that_was_cut_short_is_told(stage: Stage, things: list[Thing], left: str) -> None:
    (line,) = of_maintenance(stage, *things)

    assert line.startswith("Maintenance mode is half on since")
    assert left in line
    assert "./inv app.maintenance --on --environment staging turns it on" in line
    assert "half" not in of_maintenance(stage, *things, lease=lease(3))[0], "its task still runs"
