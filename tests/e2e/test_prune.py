"""Removing what is no longer deployed, through the sandbox's real API server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deployed import (
    CLAIM,
    CONFIG,
    CRON,
    EXTRA,
    SERVICE,
    deploy,
    deployed,
    in_every_phase,
    objects,
    results,
    words,
    workload,
)
from tests.heard import LONGEST, until
from tests.program import Ended
from tests.sandbox_case import Case, merged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

UNREAD = {**CONFIG, "metadata": {"name": "unread"}}
THEIRS = {**SERVICE, "metadata": {"name": "theirs"}}


def plan(case: Case, *options: str) -> Ended:
    return case.invoke("plan", *words()[1:], *options)


def test_what_is_no_longer_deployed_is_shown_and_pruned_last(environment: Case, tmp_path: Path) -> None:
    extras = (SERVICE, THEIRS, EXTRA, CONFIG, UNREAD, CLAIM, CRON)
    environment.hold_only(*in_every_phase(), *extras)
    deployed(environment)
    environment.hold_only(*in_every_phase())
    environment.kubectl("annotate", "service", "theirs", "mine=yes")

    page = tmp_path / "plan.html"
    shown = plan(environment, "--json", "--html", str(page), "--exit-code")
    assert shown.code == 3
    due = [entry for entry in json.loads(shown.stdout)["entries"] if entry["action"] == "delete"]
    assert sorted(f"{entry['kind']}/{entry['name']}" for entry in due) == [
        "ConfigMap/unread",
        "CronJob/nightly",
        "Deployment/extra",
        "Service/new-service",
    ]
    assert "- Service new-service (no longer deployed)" in page.read_text()
    told = plan(environment).stderr
    assert "· Service theirs (kept: kubectl-annotate also manages it)" in told
    assert "1 left" in told

    kept = deployed(environment, "--no-prune")
    assert "is unchanged and ready" in kept
    assert "Service/new-service" in objects(environment)

    with services_stay(environment):
        assert_a_refused_removal_rolls_nothing_back(environment)
    said = deployed(environment)
    assert "Service new-service: removed" in said
    assert "theirs" not in said
    plurals = ("deployments", "services", "configmaps", "cronjobs", "persistentvolumeclaims")
    after = objects(environment, *plurals)
    assert not {"Deployment/extra", "Service/new-service", "ConfigMap/unread", "CronJob/nightly"} & set(after)
    assert {"PersistentVolumeClaim/new-claim", "Service/theirs"} <= set(after)
    assert "ConfigMap/extra-conf" in after  # a release to go back to reads it
    assert plan(environment, "--exit-code").code == 0


def assert_a_refused_removal_rolls_nothing_back(case: Case) -> None:
    done = deploy(case)
    assert done.code == 1
    assert "delete Service new-service" in done.stderr
    assert "Everything is ready" in done.stderr
    assert done.stderr.index("==> ingress") < done.stderr.index("==> prune")
    assert "==> rollback to" not in done.stderr
    assert results(case)[0] == "deployed"


@contextmanager
def services_stay(case: Case) -> Iterator[None]:
    """Forbid to delete Services in the test's namespace while inside."""
    group, metadata = "admissionregistration.k8s.io", {"name": case.name}
    match = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": case.name}},
        "resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["services"]}
        ],
    }
    validations = [{"expression": "false", "message": "Services stay."}]
    specs = {
        "ValidatingAdmissionPolicy": {"matchConstraints": match, "validations": validations},
        "ValidatingAdmissionPolicyBinding": {"policyName": case.name, "validationActions": ["Deny"]},
    }
    paths = {
        "ValidatingAdmissionPolicy": f"/apis/{group}/v1/validatingadmissionpolicies",
        "ValidatingAdmissionPolicyBinding": f"/apis/{group}/v1/validatingadmissionpolicybindings",
    }
    try:
        for kind, spec in specs.items():
            case.api.create(
                paths[kind], {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "spec": spec}
            )
        until(lambda: refuses_to_delete(case))
        yield
    finally:
        for path in paths.values():
            case.api.delete(f"{path}/{case.name}")
    until(lambda: not refuses_to_delete(case))


def refuses_to_delete(case: Case) -> bool:
    """Policies take effect a moment after they were made."""
    url = f"{case.api.url}{case.path}/services/new-service?dryRun=All"
    return bool(case.api.session.delete(url, timeout=LONGEST).status_code == 422)


def test_hashed_configuration_goes_when_nothing_reads_it_any_more(environment: Case) -> None:
    configure(environment, "A=b")
    deployed(environment)
    [first] = hashed(environment)
    configure(environment, "A=c")
    deployed(environment)
    assert first in hashed(environment), "release 1 needs it, and an old ReplicaSet reads it"
    assert len(hashed(environment)) == 2

    environment.api.delete(f"{environment.path}/configmaps/lookit-orchestrator-release-1")
    deployed(environment)
    assert first in hashed(environment), "an old ReplicaSet reads it"
    for plural in ("replicasets", "controllerrevisions"):
        forget_old_revisions(environment, plural, first)
    somebody_else_s_cron_job_reads(environment, first)
    deployed(environment)
    assert first in hashed(environment), "somebody else's CronJob reads it"

    environment.api.delete(f"/apis/batch/v1/namespaces/{environment.name}/cronjobs/theirs")
    said = deployed(environment)
    assert f"ConfigMap {first}: removed" in said
    left = hashed(environment)
    assert len(left) == 1
    assert first not in left


def hashed(case: Case) -> list[str]:
    """The names of the ConfigMaps that hold the application's configuration."""
    names = (name.removeprefix("ConfigMap/") for name in objects(case, "configmaps"))
    return [name for name in names if name.startswith("lookit-configmap-")]


def somebody_else_s_cron_job_reads(case: Case, config: str) -> None:
    container = {
        "name": "main",
        "image": "busybox:1.37",
        "envFrom": [{"configMapRef": {"name": config}}],
    }
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": pod}}}
    case.api.create(
        f"/apis/batch/v1/namespaces/{case.name}/cronjobs",
        {**CRON, "metadata": {"name": "theirs"}, "spec": spec},
    )


def configure(case: Case, pair: str) -> None:
    """A Deployment and a StatefulSet that read this; kustomize puts a hash of it into the ConfigMap's name."""
    reads = {
        "name": "main",
        "image": "busybox:1.37",
        "envFrom": [{"configMapRef": {"name": "lookit-configmap"}}],
    }
    template = {"spec": {"template": {"spec": {"containers": [reads]}}}}
    readers = [merged(one, template) for one in (workload("web"), workload("queue", kind="StatefulSet"))]
    case.hold_only(*readers, configMapGenerator=[{"name": "lookit-configmap", "literals": [pair]}])


def forget_old_revisions(case: Case, plural: str, config: str) -> None:
    """What the controllers do themselves after ten revisions."""
    for thing in objects(case, plural).values():
        if config in json.dumps(thing):
            case.api.delete(f"/apis/apps/v1/namespaces/{case.name}/{plural}/{thing['metadata']['name']}")
