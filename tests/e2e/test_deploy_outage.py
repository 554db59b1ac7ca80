"""Deploys that are killed, and deploys whose cluster is away, is full or allows little."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from sandbox.kms.access import DECRYPTER
from tasks.lib import build_variables
from tasks.lib.cluster.gke import connect
from tasks.lib.cluster.rbac import ROLE, Permission, known_as, roles
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.plan.plan import Destination, needed
from tasks.lib.google.credentials import SCOPES
from tasks.lib.render.rendering import render
from tasks.lib.secrets.crypt import decrypt_all
from tasks.lib.settings.model import Settings
from tests.builders import ROOT
from tests.deployed import (
    COMMIT_A,
    COMMIT_B,
    SERVICE,
    deploy,
    deployed,
    may,
    objects,
    plaintext_of,
    results,
    slowly,
    unlock,
    words,
)
from tests.heard import until
from tests.sandbox_case import Case, Sandbox, corner, fill_etcd

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

FULL = "database space exceeded"
BACKING_UP = ("cloudsql.backupRuns.create", "cloudsql.instances.get")


def killed_at(case: Case, moment: str) -> None:
    """Deploy, and kill that as soon as it says that this phase begins."""
    with case.started(*words()) as deploying:
        deploying.moment_of(moment)
        deploying.kill()
    assert not plaintext_of(deploying.process.pid)
    unlock(case)


def test_a_deploy_that_was_killed_is_finished_by_the_next(environment: Case) -> None:
    environment.add(SERVICE)
    for moment in ("preflight", "configuration", "database", "jobs", "web", "ingress"):
        killed_at(environment, f"==> {moment}")
    deployed(environment)
    assert_ready(environment)
    assert results(environment)[0] == "deployed"  # also where the killed ones had left nothing to change

    environment.remove("Service", "new-service")
    for moment in ("support bundle", "rollback to release"):
        environment.behave("Deployment", "web", "crash-loop", logs=moment)
        killed_at(environment, f"==> {moment}")
    environment.unpatch()
    killed_at(environment, "==> prune")
    deployed(environment)
    assert_ready(environment)
    assert "crash-loop" not in json.dumps(objects(environment, "deployments")["Deployment/web"]["spec"])
    assert "Service/new-service" not in objects(environment)
    assert environment.kubectl("get", "leases", "-o", "name") == ""


def assert_ready(case: Case) -> None:
    ready = objects(case, "deployments").values()
    assert {thing["status"].get("availableReplicas") for thing in ready} == {1}


@pytest.fixture
def case(own_sandbox: Sandbox, tmp_path: Path) -> Iterator[Case]:
    """A corner of the sandbox that these tests break."""
    with corner(own_sandbox, tmp_path) as made:
        yield made


@pytest.mark.xdist_group("own_sandbox")
def test_a_deploy_goes_on_when_the_api_server_comes_back(case: Case) -> None:
    slowly(case, "Deployment", "web", 8)
    with case.started(*words()) as deploying:
        deploying.moment_of(f"Deployment {case.name}-web: 0 of 1 available")
        with case.sandbox.without("lookit-staging.apiserver"):
            deploying.moment_of("The API server does not answer")
        assert deploying.end() == 0, deploying.said

    assert "The API server answers again." in deploying.said
    assert "staging is deployed: 32 of 32 objects changed" in deploying.said


@contextmanager
def room_again(case: Case) -> Iterator[None]:
    """Afterwards there is room in etcd again, however full it got inside."""
    try:
        yield
    finally:
        make_room(case)


def make_room(case: Case) -> None:
    """What an administrator of etcd does: delete, compact, defragment, disarm."""
    for name in objects(case, "configmaps"):
        if name.startswith("ConfigMap/fill-"):
            case.api.delete(f"{case.path}/configmaps/{name.removeprefix('ConfigMap/')}")
    port = case.sandbox.port("lookit-staging.etcd")
    etcd = f"http://127.0.0.1:{port}/v3"

    def ask(path: str, **body: object) -> Any:
        answer = requests.post(f"{etcd}/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    revision = ask("maintenance/status")["header"]["revision"]
    ask("kv/compaction", revision=revision, physical=True)
    ask("maintenance/defragment")
    for alarm in ask("maintenance/alarm", action="GET", alarm="NOSPACE")["alarms"]:
        ask("maintenance/alarm", action="DEACTIVATE", **alarm)


@pytest.mark.long
@pytest.mark.xdist_group("own_sandbox")
def test_a_full_etcd_stops_the_deploy_and_a_rerun_finishes(case: Case) -> None:
    with room_again(case):
        fill_etcd(case.api, case.name)
        done = deploy(case)
    assert done.code == 1
    assert FULL in done.stderr
    assert "The cluster's etcd is full" in done.stderr
    assert "Nothing was changed in the cluster." in done.stderr
    deployed(case)

    slowly(case, "StatefulSet", "lookit-rabbitmq", 10)
    limits = {"INVOKE_TIME_LIMITS_ROLLOUT": "12s", "INVOKE_TIME_LIMITS_ROLLBACK": "12s"}
    with room_again(case), case.started(*words(COMMIT_B), **limits) as deploying:
        deploying.moment_of(f"StatefulSet {case.name}-lookit-rabbitmq: changed")
        fill_etcd(case.api, case.name)
        assert deploying.end() in {1, 70}, deploying.said
    assert FULL in deploying.said
    assert "The rollback to release 1 failed as well" in deploying.said
    assert "Traceback" not in deploying.said
    assert not plaintext_of(deploying.process.pid)
    with case.sandbox.without("lookit-staging.kwok"):
        pass  # unlike a kubelet, it tries a status that was refused again only after its own start
    assert "staging is deployed" in deployed(case)


def needed_by(settings: Settings) -> list[Permission]:
    """What deploying staging takes, with the kinds as the cluster itself names them."""
    environment = settings.environment("staging")
    variables = build_variables.read(settings, environment, commit=COMMIT_A)
    rendered = render(settings, environment, variables, decrypt_all(settings, environment))
    connection = connect(settings, environment)
    contents = [document.content for document in rendered.documents]
    objects = wanted(contents, connection.kinds, environment.namespace)
    return needed(Destination(settings, environment, connection), objects)


def test_the_cluster_needs_the_email_scope_to_name_accounts(
    environment: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name() -> str:
        return known_as(connect(environment.settings, environment.environment).api)

    assert name() == "deployer@lookit-sandbox.iam.gserviceaccount.com"
    monkeypatch.setattr("tasks.lib.google.credentials.SCOPES", SCOPES[:1])
    assert name().isdigit()


def test_the_documented_role_is_what_a_deploy_to_staging_needs(sandbox: Sandbox) -> None:
    documents = roles(needed_by(sandbox.overlaid({})), "deployer@mit-lookit.iam.gserviceaccount.com")
    page = ROOT / "docs/deployer-role.yaml"
    found = list(yaml.safe_load_all(page.read_text()))
    of_deployer = [one for one in found if one["metadata"]["name"] == ROLE]
    assert of_deployer == documents, yaml.safe_dump_all(documents, sort_keys=False)


def test_the_documented_role_is_exactly_enough_to_deploy(environment: Case, tmp_path: Path) -> None:
    account = f"l{environment.name}"
    permissions = ["container.clusters.get", *BACKING_UP]
    email = environment.sandbox.make_account(account, permissions, [DECRYPTER])
    least, due = environment.as_account(account), needed_by(environment.settings)
    role = tmp_path / "role.yaml"
    role.write_text(yaml.safe_dump_all(roles(due, email)))

    refused = deploy(least)
    assert refused.code == 1
    missing = f"missing: patch deployments.apps in namespace {environment.name}"
    assert "403" in refused.stderr or missing in refused.stderr

    environment.kubectl("apply", "-f", str(role))
    try:
        until(lambda: all(may(environment, email, one.review()["spec"]["resourceAttributes"]) for one in due))
        deployed(least)
    finally:
        environment.kubectl("delete", "-f", str(role))
