"""Each task runs as an account that has only its part of the operator's role, and asks for no more and no less."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import yaml

from sandbox.kms.access import DECRYPTER
from tasks.lib.cluster.rbac import OPERATOR, Permission, roles
from tasks.lib.operate.permissions import of_task
from tests.deployed import SERVICE, backups, deployed, interrupt, may, workload
from tests.fault_proxy import FaultProxy, in_front_of
from tests.heard import until
from tests.ports import free_port
from tests.sandbox_case import Case, Sandbox, corner

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

IN = ("--environment", "staging")
RUNS = 5
GOOGLE = ["container.clusters.get", "cloudsql.backupRuns.list"]
DATABASE = ["cloudsql.backupRuns.create", "cloudsql.instances.get", "cloudsql.instances.restoreBackup"]
# The application, which a restore stops; and behind the name in DB_HOST, for a tunnel.
APPLICATION = [workload("web"), workload("queue", kind="StatefulSet", serviceName="new-service")]
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
    account = f"o{case.name}-{task.replace('.', '-')}"
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
        stop = {"following web-": partial(interrupt, signal.SIGINT)}
        done = case.hearing(stop).invoke(task, "web", *IN, "--follow")
        assert done.code == 130, done.stderr
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


def is_exactly_enough(case: Case, proxy: FaultProxy, folder: Path, task: str) -> None:
    granted, used, left = set(of_task(task, case.name)), set[Permission](), {"not tried"}
    with operating(case, task, folder) as least:
        for _ in range(RUNS):
            prepare(task, case)
            proxy.requests.clear()
            do(task, least)
            used |= asked(proxy)
            left = {f"{one.verb} {one.resource}" for one in granted - used}
            if left <= RARE[task]:
                break  # it may be done before each of its watches has begun
    assert used <= granted, "it asks for more"
    assert left <= RARE[task], "it does without"


@pytest.fixture(scope="module")
def operated(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Case, FaultProxy]]:
    """One deployed site for all tasks, which leave it as they find it, and the line to it."""
    certificates = sandbox.state.cluster("lookit-staging")
    with (
        corner(sandbox, tmp_path_factory.mktemp("operated")) as made,
        in_front_of(sandbox.port("lookit-staging.apiserver"), certificates) as proxy,
        made.behind(proxy) as case,
    ):
        case.hold_only(*APPLICATION, SERVICE, PROXY, *OF_THE_SITE)
        deployed(case)
        yield case, proxy


@pytest.mark.xdist_group("operated")
@pytest.mark.parametrize("task", [task for task in RARE if task != "status"])
def test_the_role_is_exactly_enough(operated: tuple[Case, FaultProxy], tmp_path: Path, task: str) -> None:
    case, proxy = operated

    is_exactly_enough(case, proxy, tmp_path, task)

    if task == "database.restore":
        assert case.invoke("database.start", *IN).code == 0


def test_the_role_is_exactly_enough_for_the_status(
    environment: Case, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Of the whole site: it reads each kind that a release has."""
    with environment.behind(proxy) as case:
        deployed(case)

        is_exactly_enough(case, proxy, tmp_path, "status")


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
