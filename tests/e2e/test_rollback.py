"""What a deploy does after it failed, through the sandbox's real API server."""

import base64
import json
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_deploy import COMMIT_A, COMMIT_B, as_meant, deploy, deployed, objects, read_until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def image(case: Case) -> str:
    found: str = objects(case)["Deployment/web"]["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def results(case: Case) -> list[str]:
    """How the releases ended, the newest first."""
    listed = json.loads(case.invoke("release.list", "--environment", "staging", "--json").stdout)
    return [one["result"] for one in listed]


def bundles(case: Case) -> list[Path]:
    folder = case.folder / "evidence"
    return sorted(folder.iterdir()) if folder.exists() else []


def a_secret_value(case: Case) -> str:
    secrets = json.loads(case.kubectl("get", "secrets", "-o", "json"))["items"]
    values = [base64.b64decode(v).decode() for one in secrets for v in (one.get("data") or {}).values()]
    return next(value for value in values if len(value) > 12 and "\n" not in value)


CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "new-claim"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "new-service"},
    "spec": {"ports": [{"port": 80}]},
}


def definition(group: str) -> dict[str, Any]:
    """The definition of the kind Widget."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [version],
        },
    }


def test_a_failed_deploy_keeps_its_evidence_and_brings_the_last_good_release_back(environment: Case) -> None:
    deployed(environment)
    before, secret = objects(environment), a_secret_value(environment)
    environment.add(SERVICE)
    environment.add(CLAIM)
    environment.kubectl("create", "secret", "generic", "of-a-shell", "--from-literal=k=rotated-long-ago")
    logs = f"the password is {secret}, sadly\nit was rotated-long-ago before"
    environment.behave("Deployment", "web", "crash-loop", logs=logs)

    done = deploy(environment, commit=COMMIT_B)

    assert done.returncode == 1
    assert f"Deployment {environment.name}-web cannot become ready." in done.stderr
    assert "it was [redacted] before" in done.stderr
    assert "rotated-long-ago" not in done.stderr
    assert "==> back to release 1, commit aaaaaaa" in done.stderr
    assert "What it had touched is as in release 1 again." in done.stderr
    assert "migrations are not reversed" in done.stderr
    after = objects(environment)
    assert image(environment).endswith(COMMIT_A)
    assert after["Deployment/web"]["status"]["availableReplicas"] == 1
    assert after["Deployment/web"]["metadata"]["uid"] == before["Deployment/web"]["metadata"]["uid"]
    assert of_kind(after, "Ingress") == of_kind(before, "Ingress")
    assert "Service/new-service" not in after
    assert f"Service {environment.name}-new-service: removed" in done.stderr
    assert f"persistentvolumeclaim/{environment.name}-new-claim" in environment.kubectl(
        "get", "pvc", "-o", "name"
    )
    assert results(environment) == ["failed, rolled back to 1", "deployed"]
    [bundle] = bundles(environment)
    assert str(bundle) in done.stderr
    assert_evidence(bundle, secret)
    assert secret not in done.stderr


def of_kind(found: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [as_meant(thing) for name, thing in found.items() if name.startswith(f"{kind}/")]


def assert_evidence(bundle: Path, secret: str) -> None:
    """Check that a bundle is whole, private and holds no secret."""
    files = {str(path.relative_to(bundle)): path for path in bundle.rglob("*") if path.is_file()}
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    logs = [path.read_text() for name, path in files.items() if name.startswith("logs/") and "-web-" in name]
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


def test_a_rollout_without_progress_goes_back_though_its_controller_repeats_that_for_a_while(
    environment: Case,
) -> None:
    deployed(environment)
    # Only now: a busy machine takes longer than that for a first rollout.
    environment.patch("Deployment", "web", {"spec": {"progressDeadlineSeconds": 5}})
    deployed(environment)
    environment.behave("Deployment", "web", "never-ready")

    done = deploy(environment, commit=COMMIT_B)

    assert done.returncode == 1
    assert "ProgressDeadlineExceeded" in done.stderr
    assert "What it had touched is as in release 2 again." in done.stderr
    assert objects(environment)["Deployment/web"]["status"]["availableReplicas"] == 1
    assert results(environment) == ["failed, rolled back to 2", "deployed", "deployed"]


def test_objects_of_a_kind_that_the_failed_deploy_brought_itself_are_removed(environment: Case) -> None:
    deployed(environment)
    group = f"{environment.name}.example.org"
    environment.add(definition(group))
    environment.add({"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "one"}})
    environment.behave("Deployment", "web", "crash-loop")

    done = deploy(environment, commit=COMMIT_B)

    widgets = environment.kubectl("get", f"widgets.{group}", "-o", "name")
    environment.kubectl("delete", "customresourcedefinition", f"widgets.{group}")
    assert done.returncode == 1
    assert f"Widget {environment.name}-one: removed" in done.stderr
    assert widgets == ""
    assert results(environment)[0] == "failed, rolled back to 1"


def test_a_field_that_somebody_took_meanwhile_is_left_to_them_and_all_else_goes_back(
    environment: Case,
) -> None:
    deployed(environment)
    web = f"{environment.name}-web"
    environment.behave("Deployment", "web", "never-ready")
    process = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_B)
    said = read_until(process, f"Deployment {web}: changed")
    scale = json.dumps({"spec": {"replicas": 3}})
    environment.kubectl("patch", "deployment", web, "--field-manager=autoscaler", "-p", scale)
    said += read_until(process, "Unhealthy")
    selector = f"--selector=app.kubernetes.io/name=web,app.kubernetes.io/instance=lookit-{COMMIT_B[:7]}"
    environment.kubectl("annotate", "pods", selector, "--overwrite", "sandbox.lookit.org/behave=crash-loop")

    said += process.communicate(timeout=120)[1]

    assert process.returncode == 1, said
    assert f"Deployment {web}: left: .spec.replicas is managed by autoscaler" in said
    assert (
        "What it had touched is as in release 1 again, but for what others have set since and keep "
        f"(.spec.replicas of Deployment {web})." in said
    )
    after = objects(environment)["Deployment/web"]
    assert image(environment).endswith(COMMIT_A)
    assert after["spec"]["replicas"] == after["status"]["availableReplicas"] == 3
    assert results(environment) == ["failed, rolled back to 1", "deployed"]

    refused = environment.invoke("release.rollback", "--environment", "staging", "--to", "1")
    option = f"--force-conflicts Deployment/{web}:.spec.replicas"
    assert refused.returncode == 1
    assert f"with {option}" in refused.stderr
    done = environment.invoke("release.rollback", "--environment", "staging", "--to", "1", *option.split())
    assert done.returncode == 0, done.stderr
    assert objects(environment)["Deployment/web"]["spec"]["replicas"] == 1


def test_what_a_killed_deploy_left_goes_back_too_when_the_next_one_fails(environment: Case) -> None:
    deployed(environment)
    environment.add(SERVICE)
    environment.behave("Deployment", "web", "never-ready")
    process = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_B)
    read_until(process, f"Deployment {environment.name}-worker: 1/1")
    process.kill()
    process.wait(timeout=10)
    environment.behave("Deployment", "web", "crash-loop")

    done = deploy(environment, commit=COMMIT_B)

    assert done.returncode == 1
    assert "is as in release 1 again, and so is what deploys before it had left otherwise" in done.stderr
    after = objects(environment)
    assert "Service/new-service" not in after
    images = [
        container["image"]
        for name, thing in after.items()
        if name.startswith(("Deployment/", "StatefulSet/"))
        for container in thing["spec"]["template"]["spec"]["containers"]
    ]
    assert not [one for one in images if COMMIT_B in one]


def autoscaler(case: Case, version: str, most: int) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{case.name}-builder"}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "spare"},
        "spec": {"scaleTargetRef": target, "maxReplicas": most},
    }


def test_an_object_whose_manifest_went_to_another_version_of_the_api_goes_back_too(
    environment: Case,
) -> None:
    environment.add(autoscaler(environment, "v1", 2))
    deployed(environment)
    environment.add(autoscaler(environment, "v2", 3))
    environment.behave("Deployment", "gcloud-sqlproxy", "image-pull-error")

    done = deploy(environment, commit=COMMIT_B)

    assert done.returncode == 1
    assert "is as in release 1 again" in done.stderr
    listed = environment.kubectl("get", "horizontalpodautoscalers.v1.autoscaling", "-o", "json")
    [left] = json.loads(listed)["items"]
    assert left["spec"]["maxReplicas"] == 2


def test_the_same_commit_mended_deploys_after_a_roll_back(environment: Case) -> None:
    deployed(environment)
    environment.behave("Deployment", "web", "crash-loop")
    assert deploy(environment, commit=COMMIT_B).returncode == 1
    environment.behave("Deployment", "web", "")

    deployed(environment, commit=COMMIT_B)

    assert image(environment).endswith(COMMIT_B)
    assert results(environment) == ["deployed", "failed, rolled back to 1", "deployed"]


def test_a_time_out_goes_back_too_and_keeps_its_exit_code(environment: Case) -> None:
    deployed(environment)
    environment.behave("Deployment", "worker", "never-ready")

    done = deploy(environment, "--evidence", str(environment.folder / "here"), commit=COMMIT_B,
                  INVOKE_TIME_LIMITS_ROLLOUT="6s")  # fmt: skip

    assert done.returncode == 70
    assert image(environment).endswith(COMMIT_A)
    assert results(environment)[0] == "failed, rolled back to 1"
    assert len(list((environment.folder / "here").iterdir())) == 1
    assert bundles(environment) == []


def test_without_an_earlier_good_release_everything_stays(environment: Case) -> None:
    environment.behave("Deployment", "web", "crash-loop")

    done = deploy(environment)

    assert done.returncode == 1
    assert "there is nothing to go back to" in done.stderr
    assert image(environment).endswith(COMMIT_A)
    assert len(bundles(environment)) == 1
    assert results(environment) == ["failed"]


def test_things_stay_as_they_are_where_that_is_asked_for(environment: Case) -> None:
    deployed(environment)
    environment.behave("Deployment", "web", "crash-loop")

    done = deploy(environment, "--no-rollback", commit=COMMIT_B)

    assert done.returncode == 1
    assert "What was applied stays as it is" in done.stderr
    assert image(environment).endswith(COMMIT_B)
    assert results(environment) == ["failed", "deployed"]


def test_a_roll_back_that_fails_says_so_and_what_to_do(environment: Case) -> None:
    slowly = {"sandbox.lookit.org/ready-after": "8s"}
    template = {"spec": {"template": {"metadata": {"annotations": slowly}}}}
    environment.patch("StatefulSet", "lookit-rabbitmq", template)
    deployed(environment)
    environment.behave("StatefulSet", "lookit-rabbitmq", "image-pull-error")

    # The same commit: nothing else goes back, which might not be ready in time either.
    done = deploy(environment, INVOKE_TIME_LIMITS_ROLLBACK="2s")

    assert done.returncode == 1
    assert "The roll back to release 1 failed as well: 1 of the workloads" in done.stderr
    assert "./inv release.rollback --environment staging --to 1" in done.stderr
    assert results(environment) == ["failed, roll back to release 1 failed", "deployed"]


def test_whoever_interrupts_a_deploy_gets_no_roll_back(environment: Case) -> None:
    deployed(environment)
    environment.behave("Deployment", "web", "never-ready")
    process = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_B)
    said = read_until(process, f"Deployment {environment.name}-web: changed")

    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=120)

    assert process.returncode == 143, said + rest
    assert "It was interrupted: what was applied stays, nothing is rolled back." in rest
    assert image(environment).endswith(COMMIT_B)
    assert results(environment) == ["interrupted", "deployed"]
