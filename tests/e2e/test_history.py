"""History and rolling back, through the sandbox's real API server."""

import base64
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tasks.lib import build_variables
from tasks.lib.cluster.connection import connect
from tasks.lib.deploy import deploying, history
from tasks.lib.deploy.deploying import Release
from tasks.lib.deploy.engine import Choices
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.progress import Event, Notice
from tasks.lib.errors import Failure
from tests.e2e.test_deploy import COMMIT_A, COMMIT_B, KINDS, all_as_meant, deploy, deployed, objects
from tests.e2e.test_prune import CONFIG, EXTRA
from tests.e2e.test_rollback import CLAIM, SERVICE
from tests.heard import until
from tests.lib import test_ancestry
from tests.lib.image.memory_registry import serving
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def image(case: Case) -> str:
    web = json.loads(case.kubectl("get", "deployment", f"{case.name}-web", "-o", "json"))
    found: str = web["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def test_a_failed_release_is_kept_and_the_last_good_one_brought_back(environment: Case) -> None:
    good = environment.invoke("deploy", "--branch", "develop", "--commit", "a" * 40, "--tag", "1.0")
    assert good.returncode == 0, good.stderr
    before = image(environment)
    environment.behave("Deployment", "web", "crash-loop")
    bad = environment.invoke(
        "deploy", "--branch", "develop", "--commit", "b" * 40, "--tag", "2.0", "--no-rollback"
    )
    assert bad.returncode == 1
    assert image(environment) != before

    back = environment.invoke("release.rollback", "--environment", "staging")

    assert back.returncode == 0, back.stderr
    assert "The database stays as it is: migrations are not reversed." in back.stderr
    assert image(environment) == before
    listed = json.loads(environment.invoke("release.list", "--environment", "staging", "--json").stdout)
    assert [(one["number"], one["commit"][0], one["tag"], one["result"]) for one in listed] == [
        (3, "a", "1.0", "deployed"),
        (2, "b", "2.0", "failed"),
        (1, "a", "1.0", "deployed"),
    ]
    assert listed[0]["back_to"] == "1"


def test_what_later_releases_added_goes_when_an_earlier_one_comes_back(environment: Case) -> None:
    deployed(environment)
    for thing in (SERVICE, EXTRA, CONFIG, CLAIM):
        environment.add(thing)
    deployed(environment, commit=COMMIT_B)

    done = environment.invoke("release.rollback", "--environment", "staging")

    assert done.returncode == 0, done.stderr
    assert f"Service {environment.name}-new-service: removed" in done.stderr
    after = objects(environment, f"{KINDS},persistentvolumeclaims")
    assert not {"Service/new-service", "Deployment/extra"} & set(after)
    assert {"PersistentVolumeClaim/new-claim", "ConfigMap/extra-conf", "Job/migration"} <= set(after)
    assert {name for name in after if name.startswith("Secret/lookit-secrets-")}
    told = environment.invoke("release.diff", "1", "3", "--environment", "staging").stderr
    assert "Their objects are the same." in told
    drift = environment.invoke("release.status", "--environment", "staging", "--exit-code")
    assert drift.returncode == 0, drift.stderr
    again = environment.invoke("release.rollback", "--environment", "staging")
    assert again.returncode == 2
    assert "There is no release that went well before the present one." in again.stderr


def test_first_aid_by_hand_is_named_and_a_roll_back_can_take_it_over(environment: Case) -> None:
    deployed(environment)
    deployed(environment, commit=COMMIT_B)
    name = f"deployment/{environment.name}-web"
    environment.kubectl("set", "image", name, "uwsgi=gcr.io/mit-lookit/lookit:by-hand")
    environment.kubectl("scale", name, "--replicas=0")

    refused = environment.invoke("release.rollback", "--environment", "staging")

    assert refused.returncode == 1
    assert "is managed by kubectl-set" in refused.stderr
    [line] = [line for line in refused.stderr.splitlines() if "--force-conflicts" in line]
    taken = shlex.split(line.partition("over with ")[2].partition(", or ")[0])
    done = environment.invoke("release.rollback", "--environment", "staging", *taken)
    assert done.returncode == 0, done.stderr
    web = objects(environment)["Deployment/web"]
    assert web["spec"]["template"]["spec"]["containers"][0]["image"].endswith(COMMIT_A)
    assert web["status"]["availableReplicas"] == 1
    whole = environment.invoke(
        "release.rollback", "--environment", "staging", "--force-conflicts", "Deployment/web"
    )
    assert whole.returncode == 2
    assert "names no field" in whole.stderr


def test_a_release_whose_image_is_gone_is_refused_before_anything_changes(environment: Case) -> None:
    with serving() as registry:
        given: Any = {"INVOKE_IMAGE_REPOSITORY": f"{registry.address}/lookit"}
        for commit in (COMMIT_A, COMMIT_B):
            registry.image("lookit", commit, commit)
            done = deploy(environment, commit=commit, **given)
            assert done.returncode == 0, done.stderr
        digest = registry.tags.pop(("lookit", COMMIT_A))
        del registry.manifests["lookit", digest]
        before = image(environment)

        refused = environment.invoke("release.rollback", "--environment", "staging", **given)
        missing = deploy(environment, commit=COMMIT_A, **given)

        assert refused.returncode == 1
        assert "the registry does not hold its images any more" in refused.stderr
        assert f"{COMMIT_A}@{digest}" in refused.stderr
        assert missing.returncode == 1
        assert image(environment) == before
    away = environment.invoke("release.rollback", "--environment", "staging", **given)
    assert "Whether its images are still there is not known" in away.stderr
    assert away.returncode == 0, away.stderr


def test_a_release_that_is_not_kept_is_refused(environment: Case) -> None:
    done = environment.invoke("release.rollback", "--environment", "staging", "--to", "9")
    assert done.returncode == 2
    assert "There is no release 9." in done.stderr


def changed_by_hand(environment: Case) -> None:
    """Change, extend and delete what was deployed, and wait until controllers have noted that on the objects."""
    environment.kubectl("scale", "deployment", f"{environment.name}-web", "--replicas=3")
    environment.kubectl("set", "env", f"deployment/{environment.name}-worker", "BY_HAND=1")
    environment.kubectl("set", "env", f"deployment/{environment.name}-beat", "DEBUG=1")
    environment.kubectl("delete", "service", f"{environment.name}-web")
    until(lambda: all(map(is_seen, objects(environment, "deployments").values())))


def is_seen(workload: Any) -> bool:
    """Whether its controller has dealt with the newest state; a Deployment's number of that is an annotation."""
    return bool(workload["status"].get("observedGeneration", 0) >= workload["metadata"]["generation"])


def assert_drift_is_named(environment: Case, drift: Any) -> None:
    told = {f"{one['kind']}/{one['name']}": one for one in drift}
    assert told[f"Deployment/{environment.name}-web"]["fields"] == [
        {"field": "spec.replicas", "before": "2", "after": "3"}
    ]
    assert told[f"Service/{environment.name}-web"]["state"] == "missing"
    worker = told[f"Deployment/{environment.name}-worker"]
    assert (worker["state"], worker["by"]) == ("extra", ["kubectl-set"])
    assert any(
        field["field"].endswith("env[BY_HAND].value") and field["after"] == "1" for field in worker["fields"]
    )
    beat = told[f"Deployment/{environment.name}-beat"]
    assert beat["state"] == "changed"
    assert any("env[DEBUG].valueFrom" in field["field"] for field in beat["fields"])
    assert len(told) == 4


def test_releases_are_shown_and_compared_and_drift_is_named_by_field(environment: Case) -> None:
    def release(task: str, *options: str) -> Any:
        return environment.invoke(f"release.{task}", *options, "--environment", "staging")

    none = release("status")
    assert none.returncode == 1
    assert "Nothing was deployed to staging yet." in none.stderr
    for commit, tag in (("a" * 40, "1.0"), ("b" * 40, "2.0")):
        done = environment.invoke("deploy", "--branch", "develop", "--commit", commit, "--tag", tag)
        assert done.returncode == 0, done.stderr
        environment.patch("Deployment", "web", {"spec": {"replicas": 2}})

    shown = json.loads(release("show", "1", "--json").stdout)
    assert (shown["commit"], shown["tag"], shown["result"]) == ("a" * 40, "1.0", "deployed")
    assert shown["phases"].keys() >= {"jobs", "ingress"}
    assert {one["kind"] for one in shown["objects"]} >= {"Deployment", "StatefulSet", "Job"}
    assert "Secret" not in {one["kind"] for one in shown["objects"]}
    assert f"commit: {'b' * 40}" in release("show").stderr
    compared = json.loads(release("diff", "1", "2", "--json").stdout)
    web = next(
        one
        for one in compared["objects"]
        if (one["kind"], one["name"]) == ("Deployment", f"{environment.name}-web")
    )
    assert {"field": "spec.replicas", "before": "1", "after": "2"} in web["changes"]
    assert "~ spec.replicas: 2 → 1" in release("diff", "2", "1").stderr
    same = release("status", "--exit-code")
    assert same.returncode == 0, same.stderr
    assert "Everything is as that release made it." in same.stderr

    changed_by_hand(environment)
    before = all_as_meant(environment)
    drifted = release("status", "--exit-code", "--json")

    assert drifted.returncode == 3
    assert_drift_is_named(environment, json.loads(drifted.stdout)["drift"])
    assert all_as_meant(environment) == before


def test_a_release_larger_than_a_config_map_is_kept_in_parts_and_brought_back(environment: Case) -> None:
    done = environment.invoke("deploy", "--branch", "develop", "--commit", "a" * 40)
    assert done.returncode == 0, done.stderr
    connection = connect(environment.settings, environment.environment)
    noise = base64.b64encode(os.urandom(700_000)).decode()
    large = [
        Wanted(
            Ref("v1", "ConfigMap", environment.name, f"large-{number}"),
            body(f"large-{number}", noise[number:]),
        )
        for number in range(3)
    ]
    told: list[Any] = []

    history.keep(connection.api, environment.name, {"result": "deployed"}, large, told.append)

    assert told == [Notice("kept as release 2")]
    newest = history.read(connection.api, environment.name)[0]
    assert newest.parts > 1
    assert newest.objects() == [thing.body for thing in large]
    environment.kubectl("delete", "configmap", "lookit-orchestrator-release-2-part-2")
    torn = environment.invoke("release.status", "--environment", "staging")
    assert torn.returncode == 1
    assert "The objects of release 2 are not kept." in torn.stderr


def body(name: str, text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}


def test_an_older_commit_does_not_follow_a_newer_one_unless_asked_for(
    environment: Case, tmp_path: Path
) -> None:
    repository = test_ancestry.repository_in(tmp_path / "application")
    older, newer = (test_ancestry.commit(repository, name) for name in ("first", "second"))
    settings = replace(
        environment.settings, source=replace(environment.settings.source, checkout=str(repository))
    )
    told: list[Event] = []

    def deploy_it(sha: str, **options: Any) -> None:
        data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"made": sha}}
        environment.hold_only(data)
        variables = build_variables.read(settings, environment.environment, commit=sha, environ={})
        release = Release(environment.environment, variables, Choices(), **options)
        deploying.deploy(settings, release, told.append)

    def live() -> str:
        return environment.kubectl("get", "configmap", "c", "-o", "jsonpath={.data.made}")

    deploy_it(newer)
    with pytest.raises(Failure, match="is older than what is deployed in staging: nothing was changed"):
        deploy_it(older)
    assert live() == newer
    deploy_it(older, allow_older=True)
    assert live() == older
    deploy_it(newer)
    deploy_it(COMMIT_A)
    notices = [event.text for event in told if isinstance(event, Notice)]
    assert [text for text in notices if f"not known (fatal: bad object {COMMIT_A})" in text]
