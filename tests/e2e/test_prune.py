"""Removing what is not deployed any more, through the sandbox's real API server."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_deploy import COMMIT_A, COMMIT_B, all_as_meant, deploy, deployed, objects
from tests.e2e.test_rollback import CLAIM, SERVICE
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

EXTRA = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "extra"},
    "spec": {
        "selector": {"matchLabels": {"app": "extra"}},
        "template": {
            "metadata": {"labels": {"app": "extra"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "busybox:1.37",
                        "envFrom": [{"configMapRef": {"name": "extra-conf"}}],
                    }
                ]
            },
        },
    },
}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra-conf"}, "data": {"a": "b"}}
UNREAD = {**CONFIG, "metadata": {"name": "unread"}}
CRON = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "nightly"},
    "spec": {
        "schedule": "0 0 1 1 *",
        "jobTemplate": {
            "spec": {
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "main", "image": "busybox:1.37"}],
                    }
                }
            }
        },
    },
}


def plan(case: Case, *options: str) -> Any:
    return case.invoke("plan", "--branch", "develop", "--commit", COMMIT_A, *options)


def test_what_is_not_deployed_any_more_is_shown_then_removed_at_the_end(
    environment: Case, tmp_path: Path
) -> None:
    extras: tuple[dict[str, Any], ...] = (SERVICE, EXTRA, CONFIG, UNREAD, CLAIM, CRON)
    for thing in extras:
        environment.add(thing)
    deployed(environment)
    for thing in extras:
        environment.remove(thing["kind"], thing["metadata"]["name"])
    name = environment.name

    page = tmp_path / "plan.html"
    shown = plan(environment, "--json", "--html", str(page), "--exit-code")
    assert shown.returncode == 3
    due = [entry for entry in json.loads(shown.stdout)["entries"] if entry["action"] == "delete"]
    assert sorted(f"{entry['kind']}/{entry['name']}" for entry in due) == [
        f"ConfigMap/{name}-unread",
        f"CronJob/{name}-nightly",
        f"Deployment/{name}-extra",
        f"Service/{name}-new-service",
    ]
    assert f"- Service {name}-new-service (not deployed any more)" in page.read_text()

    kept = deployed(environment, "--no-prune")
    assert "is unchanged and ready" in kept
    assert "Service/new-service" in objects(environment)

    said = deployed(environment)

    assert said.index("==> ingress") < said.index("==> removal of what is not deployed any more")
    assert f"Service {name}-new-service: removed" in said
    after = objects(environment, "deployments,services,configmaps,cronjobs,persistentvolumeclaims")
    assert not {"Deployment/extra", "Service/new-service", "ConfigMap/unread", "CronJob/nightly"} & set(after)
    assert "PersistentVolumeClaim/new-claim" in after
    assert "ConfigMap/extra-conf" in after  # a release to go back to reads it
    assert plan(environment, "--exit-code").returncode == 0


def test_what_someone_else_has_a_part_in_stays(environment: Case) -> None:
    environment.add(SERVICE)
    deployed(environment)
    environment.remove("Service", "new-service")
    environment.kubectl("annotate", "service", f"{environment.name}-new-service", "mine=yes")

    shown = plan(environment).stderr
    said = deployed(environment)

    assert f"· Service {environment.name}-new-service (stays: kubectl-annotate has a part in it)" in shown
    assert "1 left" in shown
    assert "new-service" not in said
    assert "Service/new-service" in objects(environment)


def test_hashed_configuration_stays_while_an_old_replica_set_reads_it(environment: Case) -> None:
    deployed(environment)
    before = {name for name in objects(environment) if name.startswith("ConfigMap/lookit-configmap-")}
    change_configuration(environment, "1")

    deployed(environment, commit=COMMIT_B)

    now = {name for name in objects(environment) if name.startswith("ConfigMap/lookit-configmap-")}
    assert len(before) == 1
    assert len(now) == 2
    assert before < now


@pytest.mark.timeout(900)  # eight deploys, one after another
def test_hashed_configuration_goes_when_nothing_reads_it_any_more(environment: Case) -> None:
    deployed(environment)
    [first] = [name for name in objects(environment) if name.startswith("ConfigMap/lookit-configmap-")]
    for number in range(5):
        change_configuration(environment, str(number))
        deployed(environment)
    assert first in objects(environment)
    for kind in ("replicasets", "controllerrevisions"):
        forget_old_revisions(environment, kind, first.removeprefix("ConfigMap/"))
    somebody_else_s_cron_job_reads(environment, first.removeprefix("ConfigMap/"))
    deployed(environment)
    assert first in objects(environment)
    environment.kubectl("delete", "cronjob", "theirs")

    said = deployed(environment)

    assert f"ConfigMap {environment.name}-{first.removeprefix('ConfigMap/')}: removed" in said
    left = [name for name in objects(environment) if name.startswith("ConfigMap/lookit-configmap-")]
    assert len(left) == 5
    assert first not in left


def somebody_else_s_cron_job_reads(case: Case, config: str) -> None:
    container = {
        "name": "main",
        "image": "busybox:1.37",
        "envFrom": [{"configMapRef": {"name": f"{case.name}-{config}"}}],
    }
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": pod}}}
    path = case.folder / "theirs.json"
    path.write_text(json.dumps({**CRON, "metadata": {"name": "theirs"}, "spec": spec}))
    case.kubectl("create", "-f", str(path))


def change_configuration(case: Case, value: str) -> None:
    path = case.tree / "overlays/case/prefixed/staging.properties"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("CHANGED=")]
    path.write_text("\n".join([*lines, f"CHANGED={value}"]) + "\n")


def forget_old_revisions(case: Case, kind: str, config: str) -> None:
    """What the controllers do themselves after ten revisions."""
    for thing in json.loads(case.kubectl("get", kind, "-o", "json"))["items"]:
        if config in json.dumps(thing):
            case.kubectl("delete", kind, thing["metadata"]["name"])


def test_an_unchanged_deploy_stays_unchanged_and_the_first_with_labels_restarts_nothing(
    environment: Case,
) -> None:
    deployed(environment)
    before = objects(environment)
    for kind in ("deployment", "statefulset", "service", "configmap"):
        environment.kubectl("label", kind, "--all", "lookit-orchestrator/owner-", "--overwrite")

    deployed(environment)

    after = objects(environment)
    assert after["Deployment/web"]["metadata"]["labels"]["lookit-orchestrator/owner"] == environment.name
    generation = {name: thing["metadata"].get("generation") for name, thing in before.items()}
    assert {name: after[name]["metadata"].get("generation") for name in before} == generation
    seen = all_as_meant(environment)
    assert "staging is unchanged and ready" in deployed(environment)
    assert all_as_meant(environment) == seen


def test_a_removal_that_is_refused_does_not_roll_the_deploy_back(environment: Case) -> None:
    environment.add(SERVICE)
    deployed(environment)
    environment.remove("Service", "new-service")
    policy(environment)

    done = deploy(environment, commit=COMMIT_B)

    assert done.returncode == 1
    assert f"delete Service {environment.name}-new-service" in done.stderr
    assert "All of it is ready" in done.stderr
    listed = json.loads(environment.invoke("release.list", "--environment", "staging", "--json").stdout)
    assert listed[0]["result"] == "deployed"
    web = objects(environment)["Deployment/web"]
    assert web["spec"]["template"]["spec"]["containers"][0]["image"].endswith(COMMIT_B)


def policy(case: Case) -> None:
    """Forbid to delete Services in the test's namespace."""
    rule = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": case.name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": case.name}},
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["DELETE"],
                        "resources": ["services"],
                    }
                ],
            },
            "validations": [{"expression": "false", "message": "Services stay."}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": case.name},
        "spec": {"policyName": case.name, "validationActions": ["Deny"]},
    }
    for thing in (rule, binding):
        path = case.folder / f"{thing['kind']}.json"
        path.write_text(json.dumps(thing))
        case.kubectl("create", "-f", str(path))
    wait_until_in_force(case)


def wait_until_in_force(case: Case) -> None:
    """Policies take effect a moment after they were made."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            case.kubectl("delete", "service", f"{case.name}-new-service", "--dry-run=server")
        except subprocess.CalledProcessError:
            return
        time.sleep(0.2)
    raise AssertionError("the policy does not come into force")
