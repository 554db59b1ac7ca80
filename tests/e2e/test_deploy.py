"""The deploy against the sandbox's real API server: from nothing, again, the next version, and what is refused."""

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.cluster import gke
from tests.deployed import (
    COMMIT_A,
    COMMIT_B,
    RELEASE,
    a_secret_value,
    all_as_meant,
    containers,
    deploy,
    deployed,
    image,
    in_every_phase,
    job,
    objects,
    plaintext_of,
    results,
    slowly,
    web,
    widget,
    widgets,
    words,
    workload,
)
from tests.heard import until
from tests.sandbox_case import Case, Sandbox, corner, merged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

ODD = "🚀 naïve \u2028 \\ud83d"


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_first_deploy_brings_everything_up_in_phases(environment: Case) -> None:
    environment.add(config("odd", text=ODD))

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
    assert "staging is deployed: 33 of 33 objects changed" in said
    found = objects(environment)
    for name in ("web", "beat", "worker", "gcloud-sqlproxy"):
        assert found[f"Deployment/{name}"]["status"]["availableReplicas"] == 1
    for name in ("builder", "lookit-rabbitmq"):
        assert found[f"StatefulSet/{name}"]["status"]["readyReplicas"] == 1
    assert found["Job/migration"]["status"]["succeeded"] == 1
    assert found["ConfigMap/odd"]["data"]["text"] == ODD, "characters that YAML reads otherwise"
    mark = environment.api.get(f"{environment.path}/configmaps/lookit-orchestrator")
    assert mark
    assert mark["data"]["cluster"] == "lookit-staging"

    assert_labels_restart_nothing(environment)
    assert_unchanged_is_left_alone(environment)
    assert_jobs_run_again_when_asked_for(environment)


def assert_labels_restart_nothing(case: Case) -> None:
    """Deploy over objects that have no labels of this tool's yet."""
    before = objects(case)
    case.kubectl(
        "label", "deployment,statefulset,service,configmap", "--all", "lookit-orchestrator/owner-",
        "--overwrite",
    )  # fmt: skip
    deployed(case)
    after = objects(case)
    assert after["Deployment/web"]["metadata"]["labels"]["lookit-orchestrator/owner"] == case.name
    generation = {name: thing["metadata"].get("generation") for name, thing in before.items()}
    assert {name: after[name]["metadata"].get("generation") for name in before} == generation


def assert_unchanged_is_left_alone(case: Case) -> None:
    before = all_as_meant(case)
    assert "staging is unchanged and ready (33 objects" in deployed(case)
    assert all_as_meant(case) == before


def assert_jobs_run_again_when_asked_for(case: Case) -> None:
    before = objects(case, "jobs")["Job/migration"]["metadata"]["uid"]
    said = deployed(case, "--jobs")
    assert f"Job {case.name}-migration: started" in said
    assert "| Running migrations:" in said
    assert objects(case, "jobs")["Job/migration"]["metadata"]["uid"] != before


@dataclass(frozen=True)
class Upgrade:
    """A corner before and after its second version, with more than its image changed."""

    case: Case
    said: str
    before: dict[str, dict[str, Any]]
    after: dict[str, dict[str, Any]]
    containers_before: dict[str, dict[str, Any]]
    serving: list[set[str]]
    widget: Any


@pytest.fixture(scope="module")
def upgraded(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    """One upgrade for all that look at it."""
    with corner(sandbox, tmp_path_factory.mktemp("upgraded")) as case:
        group = f"{case.name}.example.org"
        case.add(widgets(group, "old"))
        case.add(widget(group, old="a"))
        deployed(case, "--tag", "1.0")
        before = objects(case), containers(case)
        # Which addresses are ready is noted by a controller of its own, whom no deploy waits for.
        until(lambda: serving(case))
        slowly(case, "Deployment", "web", 4)
        sidecar = {"name": "aaa", "image": "busybox:1.37"}
        case.patch("Deployment", "web", {"spec": {"template": {"spec": {"containers": [sidecar]}}}})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
        case.patch("RoleBinding", "rollout-waiter-binding", {"roleRef": role})
        case.add(widgets(group, "old", "new"))
        case.add(widget(group, old="a", new="b"))
        served = []
        with case.started(*words(COMMIT_B), "--tag", "2.0") as deploying:
            while deploying.process.poll() is None:
                served.append(serving(case))
                time.sleep(0.3)
            assert deploying.end() == 0, deploying.said
        shown = case.api.get(f"/apis/{group}/v1/namespaces/{case.name}/widgets/{case.name}-one")
        yield Upgrade(case, deploying.said, before[0], objects(case), before[1], served, shown)
        case.api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}")


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


@pytest.mark.xdist_group("upgraded")
def test_old_pods_serve_until_new_ones_are_ready(upgraded: Upgrade) -> None:
    before, after = upgraded.before["Deployment/web"], upgraded.after["Deployment/web"]
    assert all(upgraded.serving)
    assert after["spec"]["selector"] == before["spec"]["selector"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert containers(upgraded.case)["uwsgi"]["image"].endswith(COMMIT_B)
    jobs = [found["Job/migration"]["metadata"]["uid"] for found in (upgraded.before, upgraded.after)]
    assert jobs[0] != jobs[1]
    until(lambda: serving(upgraded.case) - upgraded.serving[0])


@pytest.mark.xdist_group("upgraded")
def test_a_container_added_in_front_changes_no_other_containers_environment(upgraded: Upgrade) -> None:
    before, after = upgraded.containers_before["uwsgi"], containers(upgraded.case)
    assert next(iter(after)) == "aaa"
    assert "envFrom" not in after["aaa"]
    version = {"image": "", "env": []}
    assert {**after["uwsgi"], **version} == {**before, **version}


@pytest.mark.xdist_group("upgraded")
def test_a_changed_role_reference_is_recreated(upgraded: Upgrade) -> None:
    assert f"RoleBinding {upgraded.case.name}-rollout-waiter-binding: recreated" in upgraded.said
    assert upgraded.after["RoleBinding/rollout-waiter-binding"]["roleRef"]["name"] == "view"


@pytest.mark.xdist_group("upgraded")
def test_a_definition_and_its_new_field_deploy_together(upgraded: Upgrade) -> None:
    assert upgraded.widget["spec"] == {"old": "a", "new": "b"}


def test_all_refusals_are_told_before_anything_changes(environment: Case) -> None:
    good = [web(), workload("beat"), workload("worker"), job()]
    environment.hold_only(*good, **RELEASE)
    deployed(environment)
    by_hand = {"containers": [{"name": "uwsgi", "image": "gcr.io/mit-lookit/lookit:by-hand"}]}
    patch = json.dumps({"spec": {"template": {"spec": by_hand}}})
    environment.kubectl("patch", "deployment", "web", "-p", patch)
    environment.kubectl("rollout", "pause", "deployment/beat")
    more = {"example.org/new": "label"}
    selector = {"selector": {"matchLabels": more}, "template": {"metadata": {"labels": more}}}
    worker, migration = merged(workload("worker"), {"spec": selector}), job(suspend=True)
    environment.hold_only(web(), workload("beat"), worker, migration, **RELEASE)
    before = writes(environment)

    refused = deploy(environment, commit=COMMIT_B)

    field = '.spec.template.spec.containers[name="uwsgi"].image'
    assert refused.code == 1
    for told in (
        "The cluster would refuse 4 of the changes: nothing was changed.",
        f"Deployment web: {field} is managed by kubectl-patch",
        f"--force-conflicts 'Deployment/web:{field}'",
        "rollout resume deployment/beat",
        "field is immutable",
        f"fix: `kubectl -n {environment.name} delete deployment worker`",
        "Job migration: it is suspended, so it would never end.",
        "fix: take `suspend` out of its manifest, then deploy again.",
    ):
        assert told in refused.stderr
    assert writes(environment) == before

    environment.hold_only(*good, **RELEASE)
    environment.kubectl("rollout", "resume", "deployment/beat")
    deployed(environment, "--force-conflicts", f"Deployment/web:{field}")
    assert image(environment).endswith(COMMIT_A)


def writes(case: Case) -> dict[str, tuple[str, int]]:
    """Which objects there are, and how often each was written: their status goes on changing by itself."""
    metadata = {name: thing["metadata"] for name, thing in objects(case).items()}
    return {name: (one["uid"], one.get("generation", 0)) for name, one in metadata.items()}


def test_a_cluster_marked_as_anothers_is_not_touched(environment: Case) -> None:
    mark = {**gke.mark(environment.environment), "data": {"environment": "production"}}
    environment.api.create(f"{environment.path}/configmaps", mark)
    environment.hold_only(workload("web"))
    before = set(objects(environment)) - {"ConfigMap/kube-root-ca.crt"}

    done = deploy(environment)

    assert done.code == 1
    assert "This is not the expected cluster; nothing was changed." in done.stderr
    assert set(objects(environment)) - {"ConfigMap/kube-root-ca.crt"} == before


def test_a_plan_shows_changes_and_a_stale_approval_is_refused(environment: Case, tmp_path: Path) -> None:
    def plan(*options: str) -> Any:
        return environment.invoke("plan", *words()[1:], *options)

    environment.hold_only(*in_every_phase())
    first = plan("--exit-code")
    assert first.code == 3
    assert "+ Deployment web" in first.stderr
    assert "Deployment/web" not in objects(environment)
    environment.hold_only(*in_every_phase(), config("repeats", url="none yet"))
    deployed(environment)
    assert plan("--exit-code").code == 0

    secret = a_secret_value(environment)
    changed = [*in_every_phase(workload("web", replicas=2)), config("repeats", url=f"db://{secret}@host")]
    environment.hold_only(*changed, workload("worker"))
    told = plan("--json", "--html", str(tmp_path / "plan.html"))
    approved = tmp_path / "plan.json"
    approved.write_text(told.stdout)
    assert "~ spec.replicas: 1 → 2" in (tmp_path / "plan.html").read_text()
    assert (tmp_path / "plan.html").stat().st_mode & 0o777 == 0o600
    assert "db://[redacted]@host" in told.stdout
    assert secret not in told.stdout + told.stderr
    environment.hold_only(*changed, workload("worker", replicas=2))
    refused = deploy(environment, "--plan-file", str(approved))
    assert refused.code == 1
    assert "Deployment worker: has changed since" in refused.stderr

    environment.hold_only(*changed, workload("worker"))
    deployed(environment, "--plan-file", str(approved))
    assert objects(environment)["Deployment/web"]["spec"]["replicas"] == 2


def test_a_signal_ends_the_deploy_with_a_summary(environment: Case) -> None:
    environment.hold_only(workload("web"))
    deployed(environment)
    environment.hold_only(workload("web", "never-ready"))
    report = environment.folder / "report"
    for number, code, name in ((signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")):
        with environment.started(*words(COMMIT_B), "--report", str(report)) as deploying:
            deploying.moment_of("Unhealthy")
            deploying.send(number)
            assert deploying.end() == code, deploying.said

        assert "staging is not fully deployed" in deploying.said
        assert "The deploy was interrupted: changes were kept, nothing is rolled back." in deploying.said
        assert "Traceback" not in deploying.said
        assert not plaintext_of(deploying.process.pid)
        told = json.loads((report / "deploy.json").read_text())
        assert (told["result"], told["exit_code"]) == ("interrupted", code)
        assert told["failure"]["what"] == f"Stopped by {name}."
        assert not list(report.glob(".*"))

    assert "never-ready" in json.dumps(objects(environment)["Deployment/web"]["spec"])
    assert results(environment) == ["interrupted", "deployed"], "the second one had nothing to change"
    environment.hold_only(workload("web"))
    assert "staging is deployed" in deployed(environment, commit=COMMIT_B)
