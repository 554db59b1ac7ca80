"""Why workloads do not become ready, as the sandbox's real API server, scheduler and controllers say it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.deployed import COMMIT_A, deploy, deployed, image, objects, results, words
from tests.heard import until
from tests.sandbox_case import Case, merged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

NOWHERE = {"spec": {"template": {"spec": {"nodeSelector": {"example.org/disk": "of-stone"}}}}}
LOG = Path("sandbox/logs/crash-loop.log").read_text().strip().splitlines()[-1]
NO_KEY = "couldn't find key DB_PASSWORD in Secret default/lookit-secrets"
FORBIDDEN = "FailedCreate: an admission rule, a LimitRange or the pods' own specification forbids them"


@dataclass(frozen=True)
class Broken:
    """One way in which a workload of the tree does not become ready, and what is told of it."""

    workload: str
    told: tuple[str, ...]
    behaviour: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    patch: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)

    def breaks(self, case: Case) -> None:
        """Change the tree."""
        kind, _, name = self.workload.partition("/")
        case.unpatch()
        if self.patch:
            case.patch(kind, name, self.patch)
        if self.behaviour:
            case.behave(kind, name, self.behaviour, **self.notes)


RABBIT, JOB, WEB = "StatefulSet/lookit-rabbitmq", "Job/migration", "Deployment/web"
SOON = {"INVOKE_TIME_LIMITS_SCHEDULING": "1s"}
# In the order of phases, so that each deploy goes as far as its own row.
PHASES = [
    Broken(RABBIT, ("ErrImagePull",), "image-pull-error"),
    Broken(RABBIT, ("Unschedulable: no node can take the pod",), patch=NOWHERE, limits=SOON),
    Broken(
        JOB,
        (
            "deleting broken pod {name}-lookit-rabbitmq-0 of the previous revision",
            "DeadlineExceeded: the Job ran longer than `activeDeadlineSeconds`",
        ),
        "hang",
        patch={"spec": {"activeDeadlineSeconds": 2}},
    ),
    Broken(
        JOB,
        ("Job {name}-migration failed.", "BackoffLimitExceeded", "last lines of", "not reached"),
        "job-fail",
        {"exit_code": "3"},
        {"spec": {"backoffLimit": 0}},
    ),
]
PODS = [
    Broken(WEB, ("ErrImagePull",), "image-pull-error"),
    Broken(WEB, ("CrashLoopBackOff", LOG), "crash-loop"),
    Broken(
        WEB,
        ("container uwsgi: CreateContainerConfigError", 'configmap "nobody-s" not found'),
        "create-config-error",
        {"message": 'configmap "nobody-s" not found'},
    ),
    Broken(
        WEB,
        ("container uwsgi: CreateContainerConfigError", NO_KEY),
        "create-config-error",
        {"message": NO_KEY},
    ),
    Broken(WEB, (", init container ", "CrashLoopBackOff", "bad address"), "init-fail"),
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
        assert f"Deployment {environment.name}-web cannot become ready." in told
        assert f"kubectl -n {environment.name} describe pod/" in told
        assert "there is nothing to roll back to" in told
        assert image(environment).endswith(COMMIT_A)
    assert set(results(environment)) == {"failed"}
    assert len(list((environment.folder / "evidence").iterdir())) == len(PHASES + PODS)

    environment.unpatch()
    assert "staging is deployed" in deployed(environment, **SOON)


def fails_with(case: Case, row: Broken) -> str:
    row.breaks(case)
    done = deploy(case, **row.limits)
    assert done.code == 1, f"{row}:\n{done.stderr}"
    missing = [text for text in row.told if text.format(name=case.name) not in done.stderr]
    assert not missing, f"{row}:\n{done.stderr}"
    return done.stderr


def test_a_claim_of_a_missing_class_ends_the_deploy(
    environment: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "storageClassName": f"{environment.name}-none",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "8Gi"}},
        },
    }
    environment.patch("StatefulSet", "lookit-rabbitmq", {"spec": {"volumeClaimTemplates": [claim]}})

    refused = deploy(environment)
    provided = merged(environment.values, {"deploy": {"provided": ["StorageClass/none"]}})
    monkeypatch.setattr(Case, "values", provided)
    done = deploy(environment)

    assert f"claim template data: StorageClass {environment.name}-none does not exist" in refused.stderr
    assert done.code == 1, done.stderr
    name = f"data-{environment.name}-lookit-rabbitmq-0"
    assert f"PersistentVolumeClaim {name}: ProvisioningFailed: the claim names a StorageClass" in done.stderr
    assert f'storageclass.storage.k8s.io "{environment.name}-none" not found' in done.stderr
    assert f"kubectl -n {environment.name} describe persistentvolumeclaim/{name}" in done.stderr


def test_forbidden_pods_fail_but_a_quota_is_waited_for(
    environment: Case,
) -> None:
    limits = {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}
    with limited(environment, "LimitRange", "small", limits):
        told = refused(environment)
    # The limit that the range gives by default may already be below what a container asks for.
    assert re.search(r"maximum memory usage per Container is 64Mi|must be less than or equal to memory", told)

    for kind, name in (("Job", "migration"), ("StatefulSet", "builder"), ("Deployment", "web")):
        # Changed here and back again below: a controller tries again ever more slowly, but at once what is new.
        environment.behave(kind, name, "")
        with forbidden(environment, name):
            told = refused(environment)
        assert f"{kind} {environment.name}-{name} " in told
        assert "denied request: not on a Friday" in told
        environment.unpatch()

    environment.behave("Deployment", "web", "", logs="of new pods")
    with (
        limited(environment, "ResourceQuota", "few", {"hard": {"pods": "0"}}),
        environment.started(*words()) as deploying,
    ):
        deploying.moment_of("FailedCreate: a ResourceQuota is used up; pods that end may free it")
        environment.api.delete(f"{environment.path}/resourcequotas/few")
        assert deploying.end() == 0, deploying.said
    assert re.search(
        r"exceeded quota: few, requested: pods=1, used: pods=\d+, limited: pods=0", deploying.said
    )


def refused(case: Case) -> str:
    done = deploy(case)
    assert done.code == 1, done.stderr
    assert FORBIDDEN in done.stderr
    return done.stderr


@contextmanager
def limited(case: Case, kind: str, name: str, spec: Mapping[str, Any]) -> Iterator[None]:
    """Bound what pods of the test's namespace may take while inside."""
    path = f"{case.path}/{kind.lower()}s"
    case.api.create(path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    yield
    case.api.delete(f"{path}/{name}")


@contextmanager
def forbidden(case: Case, label: str) -> Iterator[None]:
    """Have an admission policy refuse pods whose name label is `label` while inside."""
    name = f"{case.name}-{label}"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    expression = f"object.metadata.?labels['app.kubernetes.io/name'].orValue('') != '{label}'"
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
    metadata = {"name": "probe", "labels": {"app.kubernetes.io/name": label}}
    spec = {"containers": [{"name": "c", "image": "c"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    url = f"{case.api.url}{case.path}/pods?dryRun=All"
    return "denied request" in case.api.session.post(url, json=pod, timeout=30).text
