"""Why workloads do not become ready, as the sandbox's real API server, scheduler and controllers say it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.deployed import allow_pods, deploy, deployed, in_every_phase, job, objects, results, workload
from tests.heard import LONGEST, until
from tests.sandbox_case import Case, merged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

NOWHERE = {"spec": {"template": {"spec": {"nodeSelector": {"example.org/disk": "of-stone"}}}}}
INIT = {"spec": {"template": {"spec": {"initContainers": [{"name": "wait", "image": "busybox:1.37"}]}}}}
LOG = Path("sandbox/logs/crash-loop.log").read_text().strip().splitlines()[-1]
NO_KEY = "couldn't find key DB_PASSWORD in Secret default/lookit-secrets"
LABEL = "app.kubernetes.io/name"
FORBIDDEN = "FailedCreate: an admission rule, a LimitRange or the pods' own specification forbids them"


@dataclass(frozen=True)
class Broken:
    """One way in which a workload does not become ready, and what is told of it."""

    workload: str
    told: tuple[str, ...]
    behaviour: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    patch: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)

    def of(self, one: Mapping[str, Any]) -> Mapping[str, Any]:
        """The object, broken where it is the one meant."""
        if f"{one['kind']}/{one['metadata']['name']}" != self.workload:
            return one
        given = {f"sandbox.lookit.org/{key.replace('_', '-')}": value for key, value in self.notes.items()}
        given["sandbox.lookit.org/behave"] = self.behaviour
        return merged(merged(one, self.patch), {"spec": {"template": {"metadata": {"annotations": given}}}})


RABBIT, JOB, WEB = "StatefulSet/lookit-rabbitmq", "Job/migration", "Deployment/web"
SOON = {"INVOKE_TIME_LIMITS_SCHEDULING": "1s"}
# In the order of phases, so that each deploy goes as far as its own row.
PHASES = [
    Broken(RABBIT, ("ErrImagePull",), "image-pull-error"),
    Broken(RABBIT, ("Unschedulable: no node can take the pod",), patch=NOWHERE, limits=SOON),
    Broken(
        JOB,
        (
            "deleting broken pod lookit-rabbitmq-0 of the previous revision",
            "DeadlineExceeded: the Job ran longer than `activeDeadlineSeconds`",
        ),
        "hang",
        patch={"spec": {"activeDeadlineSeconds": 2}},
    ),
    Broken(
        JOB,
        ("Job migration failed.", "BackoffLimitExceeded", "last lines of", "not reached"),
        "job-fail",
        {"exit_code": "3"},
    ),
]
PODS = [
    Broken(WEB, ("ErrImagePull",), "image-pull-error"),
    Broken(WEB, ("CrashLoopBackOff", LOG), "crash-loop"),
    Broken(
        WEB,
        ("container main: CreateContainerConfigError", 'configmap "nobody-s" not found'),
        "create-config-error",
        {"message": 'configmap "nobody-s" not found'},
    ),
    Broken(
        WEB,
        ("container main: CreateContainerConfigError", NO_KEY),
        "create-config-error",
        {"message": NO_KEY},
    ),
    Broken(WEB, (", init container wait: CrashLoopBackOff", "bad address"), "init-fail", patch=INIT),
    Broken(WEB, ("FailedMount: a ConfigMap, Secret or key that a volume names is missing",), "mount-error"),
    Broken(WEB, ("OOMKilled",), "oom"),
    Broken(
        WEB,
        (
            "Unschedulable: no node can take the pod; an autoscaler may add one (0/",
            "didn't match Pod's node affinity/selector",
        ),
        patch=NOWHERE,
        limits=SOON,
    ),
]


@pytest.mark.long
def test_a_workload_that_cannot_start_fails_at_once(
    environment: Case,
) -> None:
    for row in PHASES:
        fails_with(environment, row)
    assert "Deployment/web" not in objects(environment), "the new version, before its migration went well"

    for row in PODS:
        told = fails_with(environment, row)
        assert "Deployment web cannot become ready." in told
        assert f"kubectl -n {environment.name} describe pod/" in told
        assert "there is nothing to roll back to" in told
        template = objects(environment)["Deployment/web"]["spec"]["template"]
        assert template["metadata"]["annotations"]["sandbox.lookit.org/behave"] == row.behaviour
    assert set(results(environment)) == {"failed"}
    assert len(list((environment.folder / "evidence").iterdir())) == len(PHASES + PODS)

    environment.hold_only(*in_every_phase())
    assert "staging is deployed" in deployed(environment, **SOON)


def fails_with(case: Case, row: Broken) -> str:
    case.hold_only(*map(row.of, in_every_phase()))
    done = deploy(case, **row.limits)
    assert done.code == 1, f"{row}:\n{done.stderr}"
    missing = [text for text in row.told if text not in done.stderr]
    assert not missing, f"{row}:\n{done.stderr}"
    return done.stderr


def test_a_claim_of_a_missing_class_ends_the_deploy(
    environment: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"none-{environment.name}"
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "storageClassName": own,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "8Gi"}},
        },
    }
    environment.hold_only(workload("queue", kind="StatefulSet", volumeClaimTemplates=[claim]))

    refused = deploy(environment)
    provided = merged(environment.values, {"deploy": {"provided": [f"StorageClass/{own}"]}})
    monkeypatch.setattr(Case, "values", provided)
    done = deploy(environment)

    assert f"claim template data: StorageClass {own} does not exist" in refused.stderr
    assert done.code == 1, done.stderr
    name = "data-queue-0"
    assert f"PersistentVolumeClaim {name}: ProvisioningFailed: the claim names a StorageClass" in done.stderr
    assert f'storageclass.storage.k8s.io "{own}" not found' in done.stderr
    assert f"kubectl -n {environment.name} describe persistentvolumeclaim/{name}" in done.stderr


def test_forbidden_pods_fail_but_a_quota_is_waited_for(
    environment: Case,
) -> None:
    large = {"name": "main", "image": "busybox:1.37", "resources": {"limits": {"memory": "128Mi"}}}
    environment.hold_only(merged(workload("web"), {"spec": {"template": {"spec": {"containers": [large]}}}}))
    limits = {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}
    spec = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": limits}
    environment.api.create(f"{environment.path}/limitranges", spec)
    told = refused(environment)
    environment.api.delete(f"{environment.path}/limitranges/small")
    assert "maximum memory usage per Container is 64Mi" in told

    for one in (job(), workload("builder", kind="StatefulSet"), workload("web")):
        name = one["metadata"]["name"]
        environment.hold_only(merged(one, {"spec": {"template": {"metadata": {"labels": {LABEL: name}}}}}))
        with forbidden(environment, name):
            told = refused(environment)
        assert f"{one['kind']} {name} " in told
        assert "denied request: not on a Friday" in told

    environment.hold_only(workload("web", "of new pods"))
    waited = "FailedCreate: a ResourceQuota is used up; pods that end may free it"
    quota = allow_pods(environment, 0)
    told = deployed(environment.hearing({waited: partial(environment.api.delete, quota)}))
    assert re.search(r"exceeded quota: few, requested: pods=1, used: pods=\d+, limited: pods=0", told)


def refused(case: Case) -> str:
    done = deploy(case)
    assert done.code == 1, done.stderr
    assert FORBIDDEN in done.stderr
    return done.stderr


@contextmanager
def forbidden(case: Case, label: str) -> Iterator[None]:
    """Have an admission policy refuse pods whose name label is `label` while inside."""
    name = f"{case.name}-{label}"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    expression = f"object.metadata.?labels['{LABEL}'].orValue('') != '{label}'"
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": case.name}}}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": expression, "message": "not on a Friday"}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
    group = "admissionregistration.k8s.io"
    paths = []
    try:
        for kind, spec in (
            ("ValidatingAdmissionPolicy", policy),
            ("ValidatingAdmissionPolicyBinding", binding),
        ):
            plural = "validatingadmissionpolic" + ("ies" if kind.endswith("Policy") else "ybindings")
            body = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
            paths.append(f"/apis/{group}/v1/{plural}")
            case.api.create(paths[-1], body)
        until(lambda: is_refused(case, label))
        yield
    finally:
        for path in paths:
            case.api.delete(f"{path}/{name}")
    until(lambda: not is_refused(case, label))


def is_refused(case: Case, label: str) -> bool:
    metadata = {"name": "probe", "labels": {LABEL: label}}
    spec = {"containers": [{"name": "c", "image": "c"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    url = f"{case.api.url}{case.path}/pods?dryRun=All"
    return "denied request" in case.api.session.post(url, json=pod, timeout=LONGEST).text
