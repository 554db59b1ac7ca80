"""What a deploy does after it failed, through the sandbox's real API server."""

import base64
import gzip
import json
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clock import patience
from tests.deployed import (
    CLAIM,
    COMMIT_A,
    COMMIT_B,
    RELEASE,
    SERVICE,
    a_secret_value,
    allow_pods,
    as_meant,
    backups,
    deploy,
    deployed,
    image,
    in_every_phase,
    objects,
    results,
    unlock,
    web,
    widget,
    widgets,
    words,
    workload,
)
from tests.program import When
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def autoscaler(version: str, most: int) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "spare"}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "spare"},
        "spec": {"scaleTargetRef": target, "maxReplicas": most},
    }


def test_a_failed_deploy_keeps_a_bundle_and_rolls_back(environment: Case) -> None:
    name, group = environment.name, f"{environment.name}.example.org"
    environment.hold_only(*in_every_phase(web()), autoscaler("v1", 2), **RELEASE)
    deployed(environment)
    before, secret = objects(environment), a_secret_value(environment)
    environment.kubectl(
        "create", "secret", "generic", "of-a-shell", "--from-literal=password=rotated-long-ago"
    )
    logs = f"the password is {secret}, sadly\nit was rotated-long-ago before"
    bad = web("crash-loop")
    bad["spec"]["template"]["metadata"]["annotations"]["sandbox.lookit.org/logs"] = logs
    new = (SERVICE, CLAIM, widgets(group, "old"), widget(group), autoscaler("v2", 3))
    environment.hold_only(*in_every_phase(bad), *new, **RELEASE)

    done = deploy(environment, commit=COMMIT_B)

    assert done.code == 1
    for told in (
        "Deployment web cannot become ready.",
        "it was [redacted] before",
        "==> rollback to release 1, commit aaaaaaa",
        "Rolled the changed objects back to release 1.",
        "migrations are not reversed",
        f"Before its migration backup {backups(environment)[0]['id']} of mit-lookit:us-east1:{name} was taken; "
        "docs/rollback.md says how to restore it.",
        "Service new-service: removed",
        "Widget one: removed",
    ):
        assert told in done.stderr
    assert "rotated-long-ago" not in done.stderr
    assert secret not in done.stderr
    after = objects(environment)
    assert image(environment).endswith(COMMIT_A)
    assert after["Deployment/web"]["status"]["availableReplicas"] == 1
    assert after["Deployment/web"]["metadata"]["uid"] == before["Deployment/web"]["metadata"]["uid"]
    assert of_kind(after, "Ingress") == of_kind(before, "Ingress")
    assert "Service/new-service" not in after
    assert "PersistentVolumeClaim/new-claim" in objects(environment, "persistentvolumeclaims")
    assert_what_came_by_other_versions_of_the_api_went_back(environment, group)
    assert results(environment) == ["failed, rolled back to 1", "deployed"]
    [bundle] = bundles(environment)
    assert str(bundle) in done.stderr
    assert_evidence(bundle, secret)

    environment.hold_only(*in_every_phase(web()), *new, **RELEASE)
    deployed(environment, commit=COMMIT_B)
    assert image(environment).endswith(COMMIT_B)
    assert results(environment) == ["deployed", "failed, rolled back to 1", "deployed"]
    environment.api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}")


def of_kind(found: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [as_meant(thing) for name, thing in found.items() if name.startswith(f"{kind}/")]


def assert_what_came_by_other_versions_of_the_api_went_back(case: Case, group: str) -> None:
    """A kind that the failed deploy brought itself, and a manifest that it moved to another version."""
    left = case.api.get(f"/apis/{group}/v1/namespaces/{case.name}/widgets")
    assert left
    assert left["items"] == []
    listed = case.api.get(f"/apis/autoscaling/v1/namespaces/{case.name}/horizontalpodautoscalers")
    assert listed
    assert [one["spec"]["maxReplicas"] for one in listed["items"]] == [2]


def bundles(case: Case) -> list[Path]:
    folder = case.folder / "evidence"
    return sorted(folder.iterdir()) if folder.exists() else []


def assert_evidence(bundle: Path, secret: str) -> None:
    """Check that a bundle is whole, private and holds no secret."""
    files = {str(path.relative_to(bundle)): path for path in bundle.rglob("*") if path.is_file()}
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    logs = [path.read_text() for name, path in files.items() if name.startswith("logs/") and "web-" in name]
    assert any("the password is [redacted], sadly" in log for log in logs)
    assert any(name.endswith(".previous.log") for name in files)
    assert "missing.txt" not in files
    assert "/" in files["events.txt"].read_text()
    record = json.loads(files["record.json"].read_text())
    assert record["commit"] == COMMIT_B
    assert "cannot become ready" in record["what"]
    assert any(name.startswith("objects/Deployment-") for name in files)
    for path in files.values():
        text = path.read_text()
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode() not in text


def test_a_rollout_without_progress_is_rolled_back(
    environment: Case,
) -> None:
    environment.hold_only(workload("web"))
    deployed(environment)
    # Only now: a busy machine takes longer than that for a first rollout.
    environment.hold_only(workload("web", progressDeadlineSeconds=5))
    deployed(environment)
    environment.hold_only(workload("web", "never-ready", progressDeadlineSeconds=5))

    done = deploy(environment)

    assert done.code == 1
    assert "ProgressDeadlineExceeded" in done.stderr
    assert "Rolled the changed objects back to release 2." in done.stderr
    assert objects(environment)["Deployment/web"]["status"]["availableReplicas"] == 1
    assert results(environment) == ["failed, rolled back to 2", "deployed", "deployed"]


def test_a_rollback_keeps_fields_that_others_took_over(
    environment: Case,
) -> None:
    environment.hold_only(workload("web", replicas=1))
    deployed(environment)
    environment.hold_only(workload("web", "never-ready", replicas=1))
    scale = json.dumps({"spec": {"replicas": 3}})

    def crash() -> None:
        sick = pods_that(environment, "never-ready")
        environment.kubectl("annotate", "pods", *sick, "--overwrite", "sandbox.lookit.org/behave=crash-loop")

    scaled = ("patch", "deployment", "web", "--field-manager=autoscaler", "-p", scale)
    when: When = {"web: changed": partial(environment.kubectl, *scaled), "Unhealthy": crash}
    done = deploy(environment.hearing(when))

    assert done.code == 1, done.stderr
    assert (
        "Rolled the changed objects back to release 1, except fields that others have set since "
        "(.spec.replicas of Deployment web)." in done.stderr
    )
    after = objects(environment)["Deployment/web"]
    assert "never-ready" not in json.dumps(after["spec"])
    assert after["spec"]["replicas"] == after["status"]["availableReplicas"] == 3
    assert results(environment) == ["failed, rolled back to 1", "deployed"]

    back = ("release.rollback", "--environment", "staging", "--to", "1")
    refused = environment.invoke(*back)
    option = "--force-conflicts Deployment/web:.spec.replicas"
    assert refused.code == 1
    assert ".spec.replicas is managed by autoscaler" in refused.stderr
    assert f"with {option}" in refused.stderr
    done = environment.invoke(*back, *option.split())
    assert done.code == 0, done.stderr
    assert objects(environment)["Deployment/web"]["spec"]["replicas"] == 1


def pods_that(case: Case, behaviour: str) -> list[str]:
    """The names of the pods that behave like that."""
    listed = case.api.get(f"{case.path}/pods")
    assert listed
    notes = {pod["metadata"]["name"]: pod["metadata"].get("annotations") or {} for pod in listed["items"]}
    return [name for name, given in notes.items() if given.get("sandbox.lookit.org/behave") == behaviour]


def test_changes_of_a_killed_deploy_are_rolled_back_too(environment: Case) -> None:
    environment.hold_only(workload("worker"), workload("web"))
    deployed(environment)
    before = templates(environment)
    worker = workload("worker")
    worker["spec"]["template"]["metadata"]["annotations"]["version"] = "next"
    environment.hold_only(worker, workload("web", "never-ready"), SERVICE)
    with environment.started(*words()) as deploying:
        deploying.moment_of("Deployment worker: 1/1")
        deploying.moment_of("Unhealthy")
        deploying.kill()
    unlock(environment)
    environment.hold_only(worker, workload("web", "crash-loop"), SERVICE)

    done = deploy(environment)

    assert done.code == 1
    assert "back to release 1, with " in done.stderr
    assert "Service/new-service" not in objects(environment)
    assert templates(environment) == before


def templates(case: Case) -> dict[str, Any]:
    return {name: thing["spec"]["template"] for name, thing in objects(case, "deployments").items()}


def test_a_timed_out_deploy_is_rolled_back(environment: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.hold_only(workload("web"))
    deployed(environment)
    environment.hold_only(workload("web", "never-ready"))
    evidence, report = environment.folder / "here", environment.folder / "report"
    late = {"Unhealthy": partial(patience(monkeypatch).sleep, 4)}

    done = deploy(environment.hearing(late), "--evidence", str(evidence), "--report", str(report),
                  INVOKE_TIME_LIMITS_ROLLOUT="3s")  # fmt: skip

    assert done.code == 70
    assert "1 of the workloads were not ready within 3 s." in done.stderr
    assert "Deployment web: waiting: " in done.stderr.partition("why:")[2]
    assert results(environment) == ["failed, rolled back to 1", "deployed"]
    assert "never-ready" not in json.dumps(templates(environment))
    assert len(list(evidence.iterdir())) == 1
    assert bundles(environment) == []
    told = json.loads((report / "deploy.json").read_text())
    assert (told["result"], told["exit_code"]) == ("timed out", 70)


def test_a_failed_rollback_says_what_to_do(environment: Case) -> None:
    environment.hold_only(workload("queue", kind="StatefulSet"))
    deployed(environment)
    environment.hold_only(workload("queue", "image-pull-error", "StatefulSet"))

    no_pod = {"==> rollback to release 1": partial(allow_pods, environment, 0)}
    done = deploy(environment.hearing(no_pod), INVOKE_TIME_LIMITS_ROLLBACK="1s")

    assert done.code == 1
    assert "The rollback to release 1 failed as well: 1 of the workloads" in done.stderr
    assert "./inv release.rollback --environment staging --to 1" in done.stderr
    assert results(environment) == ["failed, rollback failed", "deployed"]


def test_a_release_that_somebody_changed_is_not_brought_back(environment: Case) -> None:
    for commit in (COMMIT_A, COMMIT_B):
        data = {"made": commit}
        environment.hold_only(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
        )
        deployed(environment, commit=commit)
    path = f"{environment.path}/configmaps/lookit-orchestrator-release-1"
    kept = environment.api.get(path)
    assert kept
    objects_of_it = json.loads(gzip.decompress(base64.b64decode(kept["binaryData"]["objects"])))
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    name = f"{environment.name}-mine"
    objects_of_it.append(
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
         "roleRef": role, "subjects": [{"kind": "User", "name": "me", "apiGroup": role["apiGroup"]}]}
    )  # fmt: skip
    packed = base64.b64encode(gzip.compress(json.dumps(objects_of_it).encode())).decode()
    environment.api.patch(path, {"binaryData": {"objects": packed}})

    done = environment.invoke("release.rollback", "--environment", "staging", "--to", "1")
    unseen = environment.invoke(
        "release.rollback", "--environment", "staging", "--to", "1", "--accept-unsealed"
    )

    assert done.returncode == 1
    assert "Its seal does not fit" in done.stderr
    assert unseen.returncode == 2
    assert "stdin is not a terminal" in unseen.stderr
    assert environment.api.get(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}") is None
    assert environment.kubectl("get", "configmap", "c", "-o", "jsonpath={.data.made}") == COMMIT_B
