"""Deploys that are killed, and what a role has to allow for a deploy."""

import json
from pathlib import Path

import pytest
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
    SERVICE,
    deploy,
    deployed,
    in_every_phase,
    may,
    objects,
    plaintext_of,
    results,
    unlock,
    words,
    workload,
)
from tests.heard import until
from tests.sandbox_case import Case, Sandbox

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

THEIRS = {**SERVICE, "metadata": {"name": "theirs"}}
BACKING_UP = ("cloudsql.backupRuns.create", "cloudsql.instances.get")


def killed_at(case: Case, moment: str) -> None:
    """Deploy, and kill that as soon as it says that this phase begins."""
    with case.started(*words()) as deploying:
        deploying.moment_of(moment)
        deploying.kill()
    assert not plaintext_of(deploying.process.pid)
    unlock(case)


def test_a_deploy_that_was_killed_is_finished_by_the_next(environment: Case) -> None:
    environment.hold_only(*in_every_phase(), THEIRS)
    for moment in ("preflight", "configuration", "database", "jobs", "web", "ingress"):
        killed_at(environment, f"==> {moment}")
    deployed(environment)
    assert_ready(environment)
    assert results(environment)[0] == "deployed"  # also where the killed ones had left nothing to change

    for moment in ("support bundle", "rollback to release"):
        bad = workload("web", "crash-loop")
        bad["spec"]["template"]["metadata"]["annotations"]["example.org/killed-at"] = moment
        environment.hold_only(*in_every_phase(bad))
        killed_at(environment, f"==> {moment}")
    environment.hold_only(*in_every_phase())
    killed_at(environment, "==> prune")
    deployed(environment)
    assert_ready(environment)
    assert "crash-loop" not in json.dumps(objects(environment, "deployments")["Deployment/web"]["spec"])
    assert "Service/theirs" not in objects(environment)
    assert environment.kubectl("get", "leases", "-o", "name") == ""


def assert_ready(case: Case) -> None:
    ready = objects(case, "deployments").values()
    assert {thing["status"].get("availableReplicas") for thing in ready} == {1}


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
