"""A first deploy into a namespace that does not exist, through the sandbox's real API server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.kms.access import DECRYPTER
from tasks.lib.cluster.gke import connect
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.plan.dry_run import DryRuns, require
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure
from tests.deployed import deploy, deployed, may, words, workload
from tests.heard import until
from tests.sandbox_case import Case

TO_BACK_UP = ("cloudsql.backupRuns.create", "cloudsql.instances.get")

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "once"},
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1.37"}]}
        }
    },
}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


@pytest.fixture
def nowhere(environment: Case) -> Case:
    """An environment whose namespace is gone."""
    path = f"/api/v1/namespaces/{environment.name}"
    environment.api.delete(path)
    until(lambda: environment.api.get(path) is None)
    return environment


def exists(case: Case) -> bool:
    return case.kubectl("get", "namespace", case.name, "--ignore-not-found", "-o", "name") != ""


def test_a_missing_namespace_is_shown_then_created(nowhere: Case, tmp_path: Path) -> None:
    nowhere.hold_only(workload("web"), JOB)
    shown = nowhere.invoke("plan", *words()[1:], "--json", "--exit-code")
    assert shown.code == 3, shown.stderr
    entries = json.loads(shown.stdout)["entries"]
    assert (entries[0]["kind"], entries[0]["name"], entries[0]["action"]) == (
        "Namespace",
        nowhere.name,
        "create",
    )
    assert {entry["action"] for entry in entries} == {"create", "run"}
    assert not exists(nowhere)
    approved = tmp_path / "plan.json"
    approved.write_text(shown.stdout)

    said = deployed(nowhere, "--plan-file", str(approved))

    assert f"namespace {nowhere.name} is created" in said
    assert "staging is deployed" in said
    assert "staging is unchanged and ready" in deployed(nowhere)


@pytest.fixture
def confined(nowhere: Case) -> Iterator[Case]:
    """The same, for an account that may do everything but make namespaces."""
    email = nowhere.sandbox.make_account(nowhere.name, ["container.clusters.get", *TO_BACK_UP], [DECRYPTER])
    whole = "storageclasses.storage.k8s.io,clusterissuers.cert-manager.io"
    verbs = "get,list,watch,create,patch,delete"
    nowhere.kubectl("create", "clusterrole", nowhere.name, f"--verb={verbs}", f"--resource={whole}")
    for role in (nowhere.name, "admin"):
        nowhere.kubectl(
            "create",
            "clusterrolebinding",
            f"{nowhere.name}-{role}",
            f"--clusterrole={role}",
            f"--user={email}",
        )
    right = {"verb": "patch", "namespace": nowhere.name}
    until(lambda: may(nowhere, email, {**right, "group": "storage.k8s.io", "resource": "storageclasses"}))
    until(lambda: may(nowhere, email, {**right, "group": "apps", "resource": "deployments"}))
    yield nowhere.as_account(nowhere.name)
    nowhere.kubectl("delete", "clusterrolebinding", f"{nowhere.name}-{nowhere.name}", f"{nowhere.name}-admin")
    nowhere.kubectl("delete", "clusterrole", nowhere.name)


def test_whoever_may_not_create_it_gets_the_command(confined: Case) -> None:
    done = deploy(confined)

    assert done.code == 1
    assert f"The namespace {confined.name} does not exist." in done.stderr
    assert f"kubectl create namespace {confined.name}" in done.stderr
    assert not exists(confined)


def test_an_object_of_a_namespace_that_nobody_makes_is_refused(environment: Case) -> None:
    connection = connect(environment.settings, environment.environment)
    [w] = wanted(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "nobody-s"}}],
        connection.kinds,
        environment.name,
    )
    trial = DryRuns(connection.api, connection.kinds, (), (), environment.name)

    tried = trial.run([Step(w, Action.CREATE, "", w.body)])

    with pytest.raises(Failure) as caught:
        require(tried)
    assert 'namespaces "nobody-s" not found' in caught.value.why
