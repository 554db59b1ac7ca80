"""Why workloads do not become ready, as the sandbox's real API server, scheduler and controllers say it."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.heard import Heard, until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

COMMIT = "d" * 40
DEPLOY = ("deploy", "--branch", "develop", "--commit", COMMIT)
NOWHERE = {"spec": {"template": {"spec": {"nodeSelector": {"example.org/disk": "of-stone"}}}}}


def deploy(case: Case, **variables: Any) -> Any:
    return case.invoke(*DEPLOY, **variables)


def create(case: Case, kind: str, name: str, spec: Mapping[str, Any]) -> None:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    case.api.create(f"{case.path}/{kind.lower()}s", body)


def test_a_used_up_quota_is_told_while_it_lasts_and_waited_for(environment: Case) -> None:
    create(environment, "ResourceQuota", "few", {"hard": {"pods": "0"}})
    heard = Heard(environment.start(*DEPLOY))

    heard.moment_of("FailedCreate: a ResourceQuota is used up; pods that end may free it")
    environment.kubectl("delete", "resourcequota", "few")

    assert heard.end() == 0, heard.said
    assert "exceeded quota: few, requested: pods=1, used: pods=0, limited: pods=0" in heard.said


def test_a_quota_that_stays_used_up_ends_the_deploy(environment: Case) -> None:
    create(environment, "ResourceQuota", "few", {"hard": {"pods": "0"}})

    done = deploy(environment)

    assert done.returncode == 1, done.stderr
    assert "cannot become ready." in done.stderr
    assert "exceeded quota: few" in done.stderr
    assert f"kubectl -n {environment.name} describe " in done.stderr


def test_a_limit_range_that_the_pods_go_beyond_ends_the_deploy_at_once(environment: Case) -> None:
    limits = {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}
    create(environment, "LimitRange", "small", limits)

    done = deploy(environment, INVOKE_TIME_LIMITS_ROLLOUT="20s")

    assert done.returncode == 1, done.stderr
    assert (
        "FailedCreate: an admission rule, a LimitRange or the pods' own specification forbids them"
        in done.stderr
    )
    # The limit that the range gives by default may already be below what a container asks for.
    beyond = (
        "maximum memory usage per Container is 64Mi",
        "must be less than or equal to memory limit of 64Mi",
    )
    assert any(text in done.stderr for text in beyond), done.stderr


def forbid(case: Case, label: str) -> None:
    """Let an admission policy refuse pods whose name label is `label`, and wait until it does."""
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
    for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
        plural = "validatingadmissionpolic" + ("ies" if kind.endswith("Policy") else "ybindings")
        body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}}
        case.api.create(f"/apis/admissionregistration.k8s.io/v1/{plural}", {**body, "spec": spec})
    until(lambda: is_refused(case, label))


def is_refused(case: Case, label: str) -> bool:
    metadata = {"name": "probe", "labels": {"app.kubernetes.io/name": label}}
    spec = {"containers": [{"name": "c", "image": "c"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    url = f"{case.api.url}{case.path}/pods?dryRun=All"
    return "denied request" in case.api.session.post(url, json=pod, timeout=30).text


@pytest.mark.parametrize(
    ("label", "kind"), [("web", "Deployment"), ("builder", "StatefulSet"), ("migration", "Job")]
)
def test_a_refused_admission_ends_the_deploy_at_once(environment: Case, label: str, kind: str) -> None:
    forbid(environment, label)

    done = deploy(environment, INVOKE_TIME_LIMITS_ROLLOUT="20s", INVOKE_TIME_LIMITS_JOB="20s")

    assert done.returncode == 1, done.stderr
    assert f"{kind} {environment.name}-{label} " in done.stderr
    assert "FailedCreate: an admission rule, a LimitRange or the pods' own" in done.stderr
    assert "denied request: not on a Friday" in done.stderr


def test_a_pod_that_no_node_can_take_is_doomed_after_its_patience_and_does_not_block_its_mending(
    environment: Case,
) -> None:
    environment.patch("Deployment", "web", NOWHERE)

    done = deploy(environment, INVOKE_TIME_LIMITS_SCHEDULING="3s")

    assert done.returncode == 1, done.stderr
    assert f"Deployment {environment.name}-web cannot become ready." in done.stderr
    assert "Unschedulable: no node can take the pod; an autoscaler may add one (0/" in done.stderr
    assert "didn't match Pod's node affinity/selector" in done.stderr

    selector = {"nodeSelector": {"example.org/disk": None}}
    environment.patch("Deployment", "web", {"spec": {"template": {"spec": selector}}})
    again = deploy(environment, INVOKE_TIME_LIMITS_SCHEDULING="1s")
    assert again.returncode == 0, again.stderr


def test_a_stateful_set_that_no_node_could_take_does_not_block_its_mending(environment: Case) -> None:
    environment.patch("StatefulSet", "lookit-rabbitmq", NOWHERE)
    assert deploy(environment, INVOKE_TIME_LIMITS_SCHEDULING="1s").returncode == 1

    selector = {"nodeSelector": {"example.org/disk": None}}
    environment.patch("StatefulSet", "lookit-rabbitmq", {"spec": {"template": {"spec": selector}}})
    again = deploy(environment)

    assert again.returncode == 0, again.stderr
    assert f"pod {environment.name}-lookit-rabbitmq-0 is broken since before: it is deleted" in again.stderr


def test_a_claim_of_a_missing_class_ends_the_deploy(environment: Case) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "storageClassName": f"{environment.name}-none",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "8Gi"}},
        },
    }
    environment.patch("StatefulSet", "lookit-rabbitmq", {"spec": {"volumeClaimTemplates": [claim]}})

    done = deploy(environment, INVOKE_TIME_LIMITS_ROLLOUT="30s")

    assert done.returncode == 1, done.stderr
    name = f"data-{environment.name}-lookit-rabbitmq-0"
    assert f"PersistentVolumeClaim {name}: ProvisioningFailed: the claim names a StorageClass" in done.stderr
    assert f'storageclass.storage.k8s.io "{environment.name}-none" not found' in done.stderr
    assert f"kubectl -n {environment.name} describe persistentvolumeclaim/{name}" in done.stderr


@pytest.mark.parametrize(
    ("message", "container"),
    [
        ('configmap "settings-of-nobody" not found', "uwsgi"),
        ("couldn't find key DB_PASSWORD in Secret default/lookit-secrets", "uwsgi"),
    ],
)
def test_a_missing_setting_is_named(environment: Case, message: str, container: str) -> None:
    environment.behave("Deployment", "web", "create-config-error", message=message)

    done = deploy(environment, INVOKE_TIME_LIMITS_ROLLOUT="60s")

    assert done.returncode == 1, done.stderr
    assert f"container {container}: CreateContainerConfigError" in done.stderr
    assert message in done.stderr


def test_a_failed_init_container_is_named_with_its_log(environment: Case) -> None:
    environment.behave("Deployment", "web", "init-fail")

    done = deploy(environment, INVOKE_TIME_LIMITS_ROLLOUT="60s")

    assert done.returncode == 1, done.stderr
    assert ", init container " in done.stderr
    assert "bad address" in done.stderr


def test_a_job_beyond_its_deadline_says_so(environment: Case) -> None:
    environment.patch("Job", "migration", {"spec": {"activeDeadlineSeconds": 2}})
    environment.behave("Job", "migration", "hang")

    done = deploy(environment)

    assert done.returncode == 1, done.stderr
    assert "DeadlineExceeded: the Job ran longer than `activeDeadlineSeconds`" in done.stderr
