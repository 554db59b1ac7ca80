"""The deploy, as a process of its own, against the sandbox's real API server."""

import base64
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import workspace
from tests.heard import until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

COMMIT_A = "a" * 40
COMMIT_B = "b" * 40
KINDS = (
    "deployments,statefulsets,jobs,services,configmaps,secrets,ingresses,serviceaccounts,roles,rolebindings"
)


def deploy(case: Case, *options: str, commit: str = COMMIT_A, **variables: Any) -> Any:
    return case.invoke("deploy", "--branch", "develop", "--commit", commit, *options, **variables)


def deployed(case: Case, *options: str, commit: str = COMMIT_A) -> str:
    """Deploy, check that it went well, and return what it said."""
    done = deploy(case, *options, commit=commit)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    said: str = done.stderr
    return said


def objects(case: Case, kinds: str = KINDS) -> dict[str, dict[str, Any]]:
    listed = json.loads(case.kubectl("get", kinds, "-o", "json", "--show-managed-fields"))["items"]
    return {
        f"{thing['kind']}/{thing['metadata']['name'].removeprefix(f'{case.name}-')}": thing
        for thing in listed
    }


def as_meant(thing: dict[str, Any]) -> dict[str, Any]:
    """An object and who manages it, but for its state, which controllers write in their own time."""
    metadata = {name: value for name, value in thing["metadata"].items() if name != "resourceVersion"}
    managers = [one for one in metadata.pop("managedFields", []) if one.get("subresource") != "status"]
    rest = {name: value for name, value in thing.items() if name not in {"metadata", "status"}}
    return {**rest, "metadata": metadata, "managers": managers}


def all_as_meant(case: Case) -> dict[str, dict[str, Any]]:
    return {name: as_meant(thing) for name, thing in objects(case).items()}


def plaintext_left() -> list[Path]:
    return list(workspace.memory_folder().glob(f"{workspace.PREFIX}*"))


def test_a_first_deploy_brings_everything_up_in_phases(environment: Case) -> None:
    said = deployed(environment)

    phases = [line.removeprefix("==> ") for line in said.splitlines() if line.startswith("==> ")]
    assert phases == [
        "preflight",
        "configuration, secrets and access",
        "database proxy and message queue",
        "jobs",
        "web, worker, beat and builder",
        "ingress",
    ]
    assert "staging is deployed: 32 of 32 objects changed" in said
    found = objects(environment)
    for name in ("web", "beat", "worker", "gcloud-sqlproxy"):
        assert found[f"Deployment/{name}"]["status"]["availableReplicas"] == 1
    for name in ("builder", "lookit-rabbitmq"):
        assert found[f"StatefulSet/{name}"]["status"]["readyReplicas"] == 1
    assert found["Job/migration"]["status"]["succeeded"] == 1
    mark = json.loads(environment.kubectl("get", "configmap", "lookit-orchestrator", "-o", "json"))
    assert mark["data"]["cluster"] == "lookit-staging"


def test_an_unchanged_redeploy_touches_nothing(environment: Case) -> None:
    deployed(environment)
    before = all_as_meant(environment)

    said = deployed(environment)

    assert "staging is unchanged and ready (32 objects" in said
    assert all_as_meant(environment) == before


def test_jobs_run_again_when_asked_for(environment: Case) -> None:
    deployed(environment)
    before = objects(environment)["Job/migration"]["metadata"]["uid"]

    said = deployed(environment, "--jobs")

    assert f"Job {environment.name}-migration: started" in said
    assert "| Running migrations:" in said
    assert objects(environment)["Job/migration"]["metadata"]["uid"] != before


def test_the_next_version_keeps_serving_from_old_pods_until_new_ones_are_ready(environment: Case) -> None:
    deployed(environment, "--tag", "1.0")
    first = objects(environment)
    # Which addresses are ready is noted by a controller of its own, whom no deploy waits for.
    before = until(lambda: serving(environment))
    slowly = {"sandbox.lookit.org/ready-after": "4s"}
    environment.patch("Deployment", "web", {"spec": {"template": {"metadata": {"annotations": slowly}}}})

    process = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_B, "--tag", "2.0")
    addresses = []
    while process.poll() is None:
        addresses.append(serving(environment))
        time.sleep(0.1)

    assert process.returncode == 0, process.stderr.read() if process.stderr else ""
    assert all(addresses)
    until(lambda: serving(environment) - before)
    second = objects(environment)
    web = second["Deployment/web"]
    assert web["spec"]["selector"] == first["Deployment/web"]["spec"]["selector"]
    assert web["metadata"]["uid"] == first["Deployment/web"]["metadata"]["uid"]
    assert web["spec"]["template"]["spec"]["containers"][0]["image"].endswith(COMMIT_B)
    assert second["Job/migration"]["metadata"]["uid"] != first["Job/migration"]["metadata"]["uid"]


def serving(case: Case) -> set[str]:
    """The addresses behind the web Service that are ready."""
    slices = case.api.get(
        f"/apis/discovery.k8s.io/v1/namespaces/{case.name}/endpointslices"
        f"?labelSelector=kubernetes.io/service-name={case.name}-web"
    )
    assert slices
    return {
        address
        for part in slices["items"]
        for endpoint in part.get("endpoints") or []
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
    }


def test_a_container_added_in_front_leaves_the_environment_of_the_others_alone(environment: Case) -> None:
    deployed(environment)
    before = containers(environment)
    sidecar = {"name": "aaa", "image": "busybox:1.37"}
    environment.patch("Deployment", "web", {"spec": {"template": {"spec": {"containers": [sidecar]}}}})

    deployed(environment)

    after = containers(environment)
    assert next(iter(after)) == "aaa"
    assert after["uwsgi"] == before["uwsgi"]
    assert "envFrom" not in after["aaa"]


def containers(case: Case) -> dict[str, dict[str, Any]]:
    spec = objects(case)["Deployment/web"]["spec"]["template"]["spec"]
    return {container["name"]: container for container in spec["containers"]}


def test_a_failing_migration_ends_the_deploy_before_the_new_version_starts(environment: Case) -> None:
    environment.patch("Job", "migration", {"spec": {"backoffLimit": 0}})
    environment.behave("Job", "migration", "job-fail", exit_code="3")

    done = deploy(environment)

    assert done.returncode == 1
    assert f"Job {environment.name}-migration failed." in done.stderr
    assert "BackoffLimitExceeded" in done.stderr
    assert "last lines of" in done.stderr
    assert "not reached" in done.stderr
    assert "Deployment/web" not in objects(environment)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("image-pull-error", "ErrImagePull"),
        ("crash-loop", "CrashLoopBackOff"),
        ("create-config-error", "CreateContainerConfigError"),
        ("init-fail", "CrashLoopBackOff"),
        ("mount-error", "FailedMount: a ConfigMap, Secret or key that a volume names is missing"),
        ("oom", "OOMKilled"),
    ],
)
def test_a_doomed_pod_ends_the_deploy_at_once_and_its_mending_is_not_blocked(
    environment: Case, behaviour: str, reason: str
) -> None:
    environment.behave("Deployment", "web", behaviour)

    done = deploy(environment, INVOKE_TIME_LIMITS_ROLLOUT="60s")

    assert done.returncode == 1, done.stderr
    assert f"Deployment {environment.name}-web cannot become ready." in done.stderr
    assert reason in done.stderr
    assert (
        f"next: Mend the cause and deploy again, or look closer: kubectl -n {environment.name} describe pod/"
        in done.stderr
    )

    environment.behave("Deployment", "web", "")
    assert "staging is deployed" in deployed(environment)


def test_the_last_lines_of_a_crashing_container_are_shown(environment: Case) -> None:
    environment.behave("Deployment", "worker", "crash-loop")

    done = deploy(environment)

    assert done.returncode == 1
    log = Path("sandbox/logs/crash-loop.log").read_text().strip().splitlines()
    assert log[-1] in done.stderr


def test_a_broken_stateful_set_does_not_block_its_own_mending(environment: Case) -> None:
    environment.behave("StatefulSet", "lookit-rabbitmq", "image-pull-error")
    assert deploy(environment).returncode == 1

    environment.behave("StatefulSet", "lookit-rabbitmq", "")
    assert "staging is deployed" in deployed(environment)


def test_a_rollout_that_takes_too_long_exits_70_and_says_how_each_workload_stands(environment: Case) -> None:
    environment.behave("Deployment", "web", "never-ready")

    # On a busy machine others take longer than the first limit too; a later deploy finds them ready.
    for limit in (4, 20, 60):
        done = deploy(environment, INVOKE_TIME_LIMITS_ROLLOUT=f"{limit}s")
        assert done.returncode == 70
        expected = [
            f"1 of the workloads were not ready within {limit} s.",
            f"Deployment {environment.name}-web: waiting: 0 of 1 available; pod",
            "Unhealthy: a probe fails",
        ]
        if all(line in done.stderr for line in expected):
            break

    assert [line for line in expected if line not in done.stderr] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_deploy_with_a_summary_and_without_plaintext(
    environment: Case, number: signal.Signals, code: int
) -> None:
    environment.behave("Deployment", "web", "never-ready")
    process = environment.start("deploy", "--branch", "develop", "--commit", COMMIT_A)
    said = read_until(process, f"Deployment {environment.name}-web: 0 of 1 available")

    process.send_signal(number)
    _, rest = process.communicate(timeout=120)

    assert process.returncode == code, said + rest
    assert "not reached" in rest
    assert "staging is not fully deployed" in rest
    assert "Traceback" not in rest
    assert not [folder for folder in plaintext_left() if f"-{process.pid}-" in folder.name]

    environment.behave("Deployment", "web", "")
    assert "staging is deployed" in deployed(environment)


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """What the process says up to the line that has `text`."""
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended without saying {text!r}:\n{said}")


def test_a_cluster_marked_as_anothers_is_not_touched(environment: Case) -> None:
    deployed(environment)
    other = json.dumps({"data": {"environment": "production"}})
    environment.kubectl("patch", "configmap", "lookit-orchestrator", "--type=merge", "-p", other)
    before = all_as_meant(environment)

    done = deploy(environment, commit=COMMIT_B)

    assert done.returncode == 1
    assert "This is not the cluster that was meant: nothing was changed." in done.stderr
    assert all_as_meant(environment) == before


def test_a_cluster_that_does_not_exist_is_named(environment: Case) -> None:
    done = deploy(environment, INVOKE_ENVIRONMENTS_STAGING_CLUSTER="lookit-elsewhere")
    assert done.returncode == 1
    assert (
        "There is no cluster projects/mit-lookit/locations/us-east1-d/clusters/lookit-elsewhere."
        in done.stderr
    )


def test_what_someone_changed_by_hand_is_a_conflict_until_it_is_taken_over(environment: Case) -> None:
    deployed(environment)
    image = json.dumps(
        {
            "spec": {
                "template": {
                    "spec": {"containers": [{"name": "uwsgi", "image": "gcr.io/mit-lookit/lookit:by-hand"}]}
                }
            }
        }
    )
    environment.kubectl("patch", "deployment", f"{environment.name}-web", "-p", image)

    refused = deploy(environment)
    field = '.spec.template.spec.containers[name="uwsgi"].image'
    assert refused.returncode == 1
    assert f"Deployment {environment.name}-web: {field} is managed by kubectl-patch" in refused.stderr

    deployed(environment, "--force-conflicts", f"Deployment/{environment.name}-web:{field}")
    assert containers(environment)["uwsgi"]["image"].endswith(COMMIT_A)


def test_a_changed_selector_is_refused_before_anything_changes(environment: Case) -> None:
    deployed(environment)
    before = all_as_meant(environment)
    more = {"example.org/new": "label"}
    selector = {"selector": {"matchLabels": more}, "template": {"metadata": {"labels": more}}}
    environment.patch("Deployment", "web", {"spec": selector})

    done = deploy(environment, commit=COMMIT_B)

    assert done.returncode == 1
    assert "field is immutable" in done.stderr
    assert f"way out: `kubectl -n {environment.name} delete deployment {environment.name}-web`" in done.stderr
    assert all_as_meant(environment) == before


def test_a_changed_role_reference_is_made_anew(environment: Case) -> None:
    deployed(environment)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    environment.patch("RoleBinding", "rollout-waiter-binding", {"roleRef": role})

    said = deployed(environment)

    assert f"RoleBinding {environment.name}-rollout-waiter-binding: made anew" in said
    assert objects(environment)["RoleBinding/rollout-waiter-binding"]["roleRef"]["name"] == "view"


def test_a_plan_shows_what_would_change_and_an_approved_one_is_kept_to(
    environment: Case, tmp_path: Path
) -> None:
    def plan(*options: str) -> Any:
        return environment.invoke("plan", "--branch", "develop", "--commit", COMMIT_A, *options)

    first = plan("--exit-code")
    assert first.returncode == 3
    assert f"+ Deployment {environment.name}-web" in first.stderr
    assert "Deployment/web" not in objects(environment)
    deployed(environment)
    assert plan("--exit-code").returncode == 0

    environment.patch("Deployment", "web", {"spec": {"replicas": 2}})
    approved = tmp_path / "plan.json"
    approved.write_text(plan("--json", "--html", str(tmp_path / "plan.html")).stdout)
    assert "~ spec.replicas: 1 → 2" in (tmp_path / "plan.html").read_text()
    environment.patch("Deployment", "worker", {"spec": {"replicas": 2}})
    refused = deploy(environment, "--plan-file", str(approved))
    assert refused.returncode == 1
    assert f"Deployment {environment.name}-worker: changed since" in refused.stderr

    environment.patch("Deployment", "worker", {"spec": {"replicas": 1}})
    deployed(environment, "--plan-file", str(approved))
    assert objects(environment)["Deployment/web"]["spec"]["replicas"] == 2


def test_characters_that_yaml_reads_otherwise_arrive_as_they_are(environment: Case) -> None:
    text = "🚀 naïve \u2028 \\ud83d"
    environment.add(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odd"}, "data": {"text": text}}
    )

    deployed(environment)

    assert objects(environment)["ConfigMap/odd"]["data"]["text"] == text
    assert "is unchanged and ready" in deployed(environment)


def test_a_paused_workload_is_refused_before_anything_changes(environment: Case) -> None:
    deployed(environment)
    name = f"deployment/{environment.name}-web"
    environment.kubectl("rollout", "pause", name)
    before = writes(environment)

    refused = deploy(environment, commit=COMMIT_B)

    assert refused.returncode == 1
    assert f"rollout resume {name}" in refused.stderr
    assert writes(environment) == before


def test_a_suspended_job_is_refused_before_anything_changes(environment: Case) -> None:
    deployed(environment)
    environment.patch("Job", "migration", {"spec": {"suspend": True}})
    before = writes(environment)

    refused = deploy(environment, commit=COMMIT_B)

    assert refused.returncode == 1
    assert f"Job {environment.name}-migration: it is suspended, so it would never end." in refused.stderr
    assert "way out: take `suspend` out of its manifest, then deploy again." in refused.stderr
    assert writes(environment) == before


def writes(case: Case) -> dict[str, tuple[str, int]]:
    """Which objects there are, and how often each was written: their status goes on changing by itself."""
    metadata = {name: thing["metadata"] for name, thing in objects(case).items()}
    return {name: (one["uid"], one.get("generation", 0)) for name, one in metadata.items()}


def test_a_plan_shows_no_secret_that_a_config_map_repeats(environment: Case) -> None:
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "repeats"}}
    environment.add({**thing, "data": {"url": "none yet"}})
    deployed(environment)
    secrets = json.loads(environment.kubectl("get", "secrets", "-o", "json"))["items"]
    values = [base64.b64decode(v).decode() for one in secrets for v in (one.get("data") or {}).values()]
    secret = next(value for value in values if len(value) > 12 and "\n" not in value)
    environment.add({**thing, "data": {"url": f"db://{secret}@host"}})

    plan = environment.invoke("plan", "--branch", "develop", "--commit", COMMIT_A, "--json")

    assert plan.returncode == 0, plan.stderr
    assert "db://[redacted]@host" in plan.stdout
    assert secret not in plan.stdout + plan.stderr
