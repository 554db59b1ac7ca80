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
from tasks.lib.cluster.gke import connect
from tasks.lib.deploy import new_release
from tasks.lib.deploy.events import Event, Notice
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.plan import Choices
from tasks.lib.deploy.releases import store
from tasks.lib.errors import Failure
from tests.deployed import (
    CLAIM,
    COMMIT_A,
    COMMIT_B,
    CONFIG,
    EXTRA,
    KINDS,
    RELEASE,
    SERVICE,
    all_as_meant,
    backups,
    deploy,
    deployed,
    image,
    in_every_phase,
    objects,
    releases,
    web,
    workload,
)
from tests.heard import until
from tests.lib.deploy.plan import test_ancestry
from tests.lib.image.memory_registry import serving
from tests.program import Ended
from tests.sandbox_case import Case, merged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def release(case: Case, task: str, *options: str, **variables: str) -> Ended:
    return case.invoke(f"release.{task}", *options, "--environment", "staging", **variables)


def test_releases_are_shown_compared_and_rolled_back(environment: Case) -> None:
    none = release(environment, "status")
    assert none.code == 1
    assert "Nothing was deployed to staging yet." in none.stderr
    debug = {"name": "DEBUG", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "text"}}}
    container = {"name": "main", "image": "busybox:1.37", "env": [debug]}
    beat = merged(workload("beat"), {"spec": {"template": {"spec": {"containers": [container]}}}})
    others = (beat, workload("worker"), body("c", "text"))
    environment.hold_only(*in_every_phase(web(replicas=1)), *others, **RELEASE)
    deployed(environment, "--tag", "1.0")
    new = (SERVICE, EXTRA, CONFIG, CLAIM)
    environment.hold_only(*in_every_phase(web(replicas=2)), *others, *new, **RELEASE)
    deployed(environment, "--tag", "2.0", commit=COMMIT_B)

    assert_releases_are_shown_and_compared(environment)
    assert_drift_is_named_by_field(environment)
    assert_first_aid_by_hand_is_named_and_taken_over(environment)
    assert_all_is_as_in_the_first_release(environment)


def assert_releases_are_shown_and_compared(case: Case) -> None:
    shown = json.loads(release(case, "show", "1", "--json").stdout)
    assert (shown["commit"], shown["tag"], shown["result"]) == (COMMIT_A, "1.0", "deployed")
    assert shown["phases"].keys() >= {"jobs", "ingress"}
    assert {one["kind"] for one in shown["objects"]} >= {"Deployment", "StatefulSet", "Job"}
    assert "Secret" not in {one["kind"] for one in shown["objects"]}
    assert f"commit: {COMMIT_B}" in release(case, "show").stderr
    compared = json.loads(release(case, "diff", "1", "2", "--json").stdout)
    web = next(one for one in compared["objects"] if (one["kind"], one["name"]) == ("Deployment", "web"))
    assert {"field": "spec.replicas", "before": "1", "after": "2"} in web["changes"]
    assert "~ spec.replicas: 2 → 1" in release(case, "diff", "2", "1").stderr
    same = release(case, "status", "--exit-code")
    assert same.code == 0, same.stderr
    assert "No drift." in same.stderr


def assert_drift_is_named_by_field(case: Case) -> None:
    change_by_hand(case)
    before = all_as_meant(case)

    drifted = release(case, "status", "--exit-code", "--json")

    assert drifted.code == 3
    told = {f"{one['kind']}/{one['name']}": one for one in json.loads(drifted.stdout)["drift"]}
    assert told["Deployment/web"]["fields"] == [{"field": "spec.replicas", "before": "2", "after": "3"}]
    assert told["Service/site"]["state"] == "missing"
    worker = told["Deployment/worker"]
    assert (worker["state"], worker["by"]) == ("extra", ["kubectl-set"])
    assert any(
        field["field"].endswith("env[BY_HAND].value") and field["after"] == "1" for field in worker["fields"]
    )
    beat = told["Deployment/beat"]
    assert beat["state"] == "changed"
    assert any("env[DEBUG].valueFrom" in field["field"] for field in beat["fields"])
    assert len(told) == 4
    assert all_as_meant(case) == before


def change_by_hand(case: Case) -> None:
    """Change, extend and delete what was deployed, and wait until controllers have noted that on the objects."""
    case.kubectl("scale", "deployment", "web", "--replicas=3")
    case.kubectl("set", "env", "deployment/worker", "BY_HAND=1")
    case.kubectl("set", "env", "deployment/beat", "DEBUG=1")
    case.kubectl("delete", "service", "site")
    until(lambda: all(map(is_seen, objects(case, "deployments").values())))


def is_seen(workload: Any) -> bool:
    """Whether its controller has dealt with the newest state; a Deployment's number of that is an annotation."""
    return bool(workload["status"].get("observedGeneration", 0) >= workload["metadata"]["generation"])


def assert_first_aid_by_hand_is_named_and_taken_over(case: Case) -> None:
    for name, variable in (("worker", "BY_HAND"), ("beat", "DEBUG")):
        case.kubectl("set", "env", f"deployment/{name}", f"{variable}-")
    name = "deployment/web"
    case.kubectl("set", "image", name, "uwsgi=gcr.io/mit-lookit/lookit:by-hand")
    case.kubectl("scale", name, "--replicas=0")

    refused = release(case, "rollback")

    assert refused.code == 1
    assert "is managed by kubectl-set" in refused.stderr
    [line] = [line for line in refused.stderr.splitlines() if "--force-conflicts" in line]
    taken = shlex.split(line.partition("over with ")[2].partition(", or ")[0])
    done = release(case, "rollback", *taken)
    assert done.code == 0, done.stderr
    assert (
        "The database is not changed: migrations are not reversed. Before release 2 migrated, "
        f"backup {backups(case)[0]['id']} of mit-lookit:us-east1:{case.name} was taken; "
        "docs/rollback.md says how to restore it."
    ) in done.stderr
    assert "Service new-service: removed" in done.stderr


def assert_all_is_as_in_the_first_release(case: Case) -> None:
    after = objects(case, *KINDS, "persistentvolumeclaims")
    assert image(case).endswith(COMMIT_A)
    assert after["Deployment/web"]["status"]["availableReplicas"] == 1
    assert len(backups(case)) == 2, "what goes back migrates nothing"
    assert not {"Service/new-service", "Deployment/extra"} & set(after)
    assert {"PersistentVolumeClaim/new-claim", "ConfigMap/extra-conf", "Job/migration"} <= set(after)
    assert "Secret/password" in after
    listed = releases(case)
    assert [(one["number"], one["tag"], one["result"]) for one in listed] == [
        (3, "1.0", "deployed"),
        (2, "2.0", "deployed"),
        (1, "1.0", "deployed"),
    ]
    assert listed[0]["back_to"] == "1"
    assert "Their objects are the same." in release(case, "diff", "1", "3").stderr
    drift = release(case, "status", "--exit-code")
    assert drift.code == 0, drift.stderr
    again = release(case, "rollback")
    assert again.code == 2
    assert "There is no release that went well before the present one." in again.stderr
    unknown = release(case, "rollback", "--to", "9")
    assert unknown.code == 2
    assert "There is no release 9." in unknown.stderr


def test_a_release_without_its_image_is_refused_first(environment: Case) -> None:
    with serving() as registry:
        given: Any = {"INVOKE_IMAGE_REPOSITORY": f"{registry.address}/lookit"}
        for commit in (COMMIT_A, COMMIT_B):
            registry.image("lookit", commit, commit)
            deployed(environment, commit=commit, **given)
        digest = registry.tags.pop(("lookit", COMMIT_A))
        del registry.manifests["lookit", digest]
        before = image(environment)

        refused = release(environment, "rollback", **given)
        missing = deploy(environment, commit=COMMIT_A, **given)

        assert refused.code == 1
        assert "the registry no longer holds its images" in refused.stderr
        assert f"{COMMIT_A}@{digest}" in refused.stderr
        assert missing.code == 1
        assert image(environment) == before
    away = release(environment, "rollback", **given)
    assert "Could not check that its images still exist" in away.stderr
    assert away.code == 0, away.stderr


def test_a_large_release_is_kept_in_parts_and_restored(environment: Case) -> None:
    connection = connect(environment.settings, environment.environment)
    noise = base64.b64encode(os.urandom(700_000)).decode()
    large = [
        Wanted(
            Ref("v1", "ConfigMap", environment.name, f"large-{number}"),
            body(f"large-{number}", noise[number:]),
        )
        for number in range(3)
    ]

    assert store.add(connection.api, environment.name, {"result": "deployed"}, large, []) == 1

    newest = store.read(connection.api, environment.name)[0]
    assert newest.parts > 1
    assert newest.objects() == [thing.body for thing in large]
    environment.api.delete(f"{environment.path}/configmaps/lookit-orchestrator-release-1-part-2")
    torn = release(environment, "status")
    assert torn.code == 1
    assert "The objects of release 1 are not kept." in torn.stderr


def body(name: str, text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}


def test_an_older_commit_needs_allow_older(environment: Case, tmp_path: Path) -> None:
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
        request = new_release.Request(environment.environment, variables, Choices(), **options)
        new_release.deploy(settings, request, told.append)

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
    assert [text for text in notices if f"(fatal: bad object {COMMIT_A})" in text]
