"""Each task runs as an account that has only its part of the operator's role, and asks for no more and no less."""

import copy
import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from sandbox.kms.access import DECRYPTER
from tasks.lib.cluster.rbac import OPERATOR, Permission, roles
from tasks.lib.operate.permissions import of_task
from tests.deployed import SERVICE, backups, deployed, may, workload
from tests.fault_proxy import FaultProxy
from tests.heard import until
from tests.ports import free_port
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

IN = ("--environment", "staging")
GOOGLE = ["container.clusters.get", "cloudsql.backupRuns.list"]
DATABASE = ["cloudsql.backupRuns.create", "cloudsql.instances.get", "cloudsql.instances.restoreBackup"]
# The application, which a restore stops; and behind the name in DB_HOST, for a tunnel.
OTHERS = [workload("web"), workload("queue", kind="StatefulSet", serviceName="new-service")]
APPLICATION = copy.deepcopy(OTHERS)
for one in APPLICATION:
    one["spec"]["template"]["spec"]["containers"][0]["image"] = "gcr.io/mit-lookit/lookit:1"
PROXY = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "staging-gcloud-sqlproxy"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 5432}]},
}
STOPPED = {"lookit-orchestrator/replicas-before-restore": "1"}
REQUEST = re.compile(
    r"(?P<method>[A-Z]+) /(?:api/v1|apis/(?P<group>[^/?]+)/[^/?]+)(?:/namespaces/(?P<namespace>[^/?]+))?"
    r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/?]+))?(?:/(?P<part>[a-z]+))?(?:\?(?P<query>.*))?$"
)
# What maintenance mode changes.
WORKER = workload("worker", kind="StatefulSet", serviceName="new-service")
WORKER["spec"]["template"]["spec"]["containers"][0]["image"] = "gcr.io/mit-lookit/lookit:1"
OF_THE_SITE = (
    WORKER,
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "site"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    },
)
# Needed only where pods are broken, somebody else waits, or it takes longer than here.
RARE = {
    "status": set(),
    "app.restart": {"delete pods", "get pods/log", "patch leases", "update leases", "watch leases"},
    "app.logs": set(),
    "app.run": {"list events"},
    "app.exec": set(),
    # An apply is a PATCH, and where it makes something the server asks for `create` as well.
    "app.maintenance": {
        "create configmaps",
        "create deployments",
        "delete pods",
        "get pods/log",
        "patch leases",
        "update leases",
        "watch leases",
    },
    "database.connect": set(),
    "database.restore": {"delete pods", "get pods/log", "patch leases", "update leases", "watch leases"},
    "database.start": {"delete pods", "get pods/log", "patch leases", "update leases", "watch leases"},
}


def asked(proxy: FaultProxy) -> set[Permission]:
    """The permissions that the requests needed; those that everybody has are left out."""
    found = [match for line in proxy.requests if (match := REQUEST.fullmatch(line))]
    return {_permission(match) for match in found if match["group"] != "authorization.k8s.io"}


def _permission(match: "re.Match[str]") -> Permission:
    reading = "get" if match["name"] else "watch" if "watch=true" in (match["query"] or "") else "list"
    verbs = {"GET": reading, "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    resource = f"{match['resource']}/{match['part']}" if match["part"] else match["resource"]
    return Permission(match["namespace"] or "", match["group"] or "", resource, verbs[match["method"]])


@contextmanager
def operating(case: Case, task: str, folder: Path) -> Iterator[Case]:
    """The same corner, entered as an account that may do just this."""
    account = f"o{case.name}"
    rights = [*GOOGLE, *DATABASE] if task.startswith("database.") else GOOGLE
    email = case.sandbox.make_account(account, rights, [DECRYPTER] if task == "database.connect" else [])
    granted = of_task(task, case.name)
    role = folder / "role.yaml"
    role.write_text(yaml.safe_dump_all(roles(granted, email, f"{OPERATOR}-{case.name}")))
    case.kubectl("apply", "-f", str(role))
    try:
        until(lambda: all(may(case, email, one.review()["spec"]["resourceAttributes"]) for one in granted))
        yield case.as_account(account)
    finally:
        case.kubectl("delete", "-f", str(role))


def do(task: str, case: Case) -> None:
    """Run a task to its end."""
    if task == "status":
        done = case.invoke(task, *IN)
        assert (done.code, "Could not look at" in done.stderr) == (0, False), done.stderr
    elif task == "app.restart":
        done = case.invoke(task, "web", "queue", *IN)
        assert done.code == 0, done.stderr
    elif task == "app.logs":
        with case.started(task, "web", *IN, "--follow") as following:
            following.moment_of("following web-")
            following.send(signal.SIGINT)
            assert following.end() == 130, following.said
    elif task == "app.exec":  # simulated pods run nothing: kubectl asks in each of its ways, and is told so
        entered = case.invoke_apart(task, "web", *IN, "--", "true")
        assert "ended before the command did." in entered.stderr
    elif task == "app.maintenance":
        for option in ("--on", "--off"):
            done = case.invoke(task, option, *IN)
            assert done.code == 0, done.stderr
    elif task.startswith("database."):
        do_with_the_database(task, case)
    else:
        ran = case.invoke_apart(task, *IN, "--", "true")
        assert ran.returncode == 0, ran.stderr
        assert case.invoke("app.runs", *IN).code == 0


def do_with_the_database(task: str, case: Case) -> None:
    """The same for what the database is about."""
    if task == "database.connect":
        done = case.invoke(task, *IN, "--port", str(free_port()))
        # A simulated node has no kubelet that would forward a port.
        assert "A tunnel to pod web-" in done.stderr
        assert "orbidden" not in done.stderr
    elif task == "database.restore":
        done = case.invoke(task, backups(case)[0]["id"], *IN, "--confirm", "staging")
        assert done.code == 0, done.stderr
    elif task == "database.start":
        done = case.invoke(task, *IN)
        assert (done.code, "Started: Deployment web" in done.stderr) == (0, True), done.stderr


def prepare(task: str, case: Case) -> None:
    """Do what comes before a task, as a deployer."""
    if task == "database.restore":
        assert case.invoke("database.backup", *IN).code == 0
    elif task == "database.start":
        patch = {"metadata": {"annotations": STOPPED}, "spec": {"replicas": 0}}
        for one in ("deployment/web", "statefulset/queue"):
            case.kubectl("patch", one, "--type=merge", "-p", json.dumps(patch))


@pytest.mark.parametrize("task", RARE)
def test_the_role_is_exactly_enough(environment: Case, proxy: FaultProxy, tmp_path: Path, task: str) -> None:
    with environment.behind(proxy) as case:
        if task != "status":
            things = APPLICATION if task.startswith("database.") else OTHERS
            case.hold_only(*things, SERVICE, PROXY, *OF_THE_SITE)
        deployed(case)
        prepare(task, case)
        proxy.requests.clear()
        with operating(case, task, tmp_path) as least:
            do(task, least)

    granted, used = set(of_task(task, case.name)), asked(proxy)
    assert used <= granted, "it asks for more"
    left = {f"{one.verb} {one.resource}" for one in granted - used}
    assert left <= RARE[task], "it does without"


def test_who_has_no_role_is_told_which_verb_is_missing(environment: Case, tmp_path: Path) -> None:
    environment.hold_only(workload("web"))
    deployed(environment)

    with operating(environment, "app.logs", tmp_path) as least:
        refused = least.invoke("app.restart", "web", *IN)

    assert refused.code == 1
    assert 'cannot get resource "leases"' in refused.stderr


def test_who_may_not_enter_pods_is_told_verb_and_role(environment: Case, tmp_path: Path) -> None:
    environment.hold_only(workload("web"))
    deployed(environment)

    with operating(environment, "app.logs", tmp_path) as least:
        refused = least.invoke_apart("app.exec", "web", *IN, "--", "true")

    assert refused.returncode == 1
    assert "Missing permission to run commands in pods." in refused.stderr
    assert f"missing: create pods/exec in namespace {environment.name}" in refused.stderr
    assert "role lookit-operator" in refused.stderr
