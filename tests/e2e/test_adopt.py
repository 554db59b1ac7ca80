"""Moving from the shell version: what `kubectl apply` left in the cluster is taken over by the first deploy."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.lib.cluster.gke import connect
from tasks.lib.deploy.apply import Writer
from tasks.lib.deploy.events import Record
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.plan.decide import get
from tasks.lib.deploy.plan.diff import changes
from tasks.lib.deploy.steps import Action, Change, Step
from tests import shell_version
from tests.deployed import workload
from tests.sandbox_case import Case, Sandbox, corner

pytestmark = pytest.mark.e2e

SHA = "c" * 40
WITHOUT_RELEASE_KEY = {"INVOKE_ENVIRONMENTS_STAGING_SECRETS_RELEASE_KEY": ""}
# What the server gives out by itself, to each Service otherwise.
ALLOCATED = ("clusterIP", "clusterIPs", "healthCheckNodePort")


def _applied_by_kubectl(case: Case, document: object) -> Path:
    """What the shell version did: client-side apply, whose fields a plain server-side apply leaves behind."""
    file = case.folder / "before.json"
    file.write_text(json.dumps(document))
    case.kubectl("apply", "-f", str(file))
    return file


# RabbitMQ's Service as the shell version has it, with the dead port and the annotation for it; and as it is now.
BEFORE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "lookit-rabbitmq", "annotations": {"prometheus.io/port": "9419"}},
    "spec": {"ports": [{"name": "amqp", "port": 5672}, {"name": "metrics", "port": 9419}]},
}
NOW: dict[str, Any] = {
    **BEFORE,
    "metadata": {"name": "lookit-rabbitmq"},
    "spec": {"ports": [{"name": "epmd", "port": 4369}, {"name": "amqp", "port": 5672}]},
}


@pytest.fixture(params=["staging", "production"])
def either(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> Iterator[Case]:
    """A corner with the tree of each environment."""
    with corner(sandbox, tmp_path, like=request.param) as case:
        yield case


def _rendered(case: Case) -> list[dict[str, Any]]:
    done = case.invoke("render", "--environment", "staging", "--commit", SHA)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _listed(things: Iterable[object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)})


def _read(case: Case, things: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    file = case.folder / "asked.json"
    file.write_text(_listed(things))
    read = json.loads(case.kubectl("get", "-f", str(file), "-o", "json", "--show-managed-fields"))
    items: list[dict[str, Any]] = read.get("items", [read])
    return items


def _aged(case: Case, before: list[dict[str, Any]]) -> None:
    """Apply as deploy.sh did, on a cluster too old to record who set which field."""
    file = _applied_by_kubectl(case, json.loads(_listed(before)))
    forget = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
    case.kubectl("patch", "-f", str(file), "--type=json", "-p", json.dumps(forget))
    assert all("managedFields" not in thing["metadata"] for thing in _read(case, before))


def _with_defaults(case: Case, render: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the server would make of these objects if nothing were there yet."""
    file = case.folder / "elsewhere.json"
    file.write_text(
        _listed(
            {**one, "metadata": {**one["metadata"], "name": f"new-{one['metadata']['name']}"}}
            for one in render
        )
    )
    made = case.kubectl("apply", "--server-side", "--dry-run=server", "-f", str(file), "-o", "json")
    items: list[dict[str, Any]] = json.loads(made)["items"]
    return items


def _content(thing: dict[str, Any]) -> dict[str, Any]:
    """What an object says, without what the server and this project note on it."""
    metadata = thing["metadata"]
    spec = {key: value for key, value in thing.get("spec", {}).items() if key not in ALLOCATED}
    if thing["kind"] == "Service":
        spec["ports"] = [{**port, "nodePort": "any"} for port in spec.get("ports", [])]
    notes = {
        name: {key: text for key, text in metadata.get(name, {}).items() if "lookit-orchestrator" not in key}
        for name in ("labels", "annotations")
    }
    notes["annotations"].pop("deployment.kubernetes.io/revision", None)
    rest = {key: value for key, value in thing.items() if key not in {"metadata", "status", "spec"}}
    return {**rest, "spec": spec, "name": metadata["name"].removeprefix("new-"), **notes}


def _differences(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, set[str]]:
    """By object, every field in which it differs; controllers count a Deployment's revisions."""
    differing = {
        f"{new['kind']} {new['metadata']['name']}": set(map(str, changes(old, new)))
        for old, new in zip(before, after, strict=True)
    }
    return {name: {one for one in found if "/revision: " not in one} for name, found in differing.items()}


def _planned(plan: str) -> dict[str, set[str]]:
    """By object, every field that a plan shows as changing."""
    return {
        f"{one['kind']} {one['name']}": {str(Change(**change)) for change in one["changes"]}
        for one in json.loads(plan)["entries"]
        if one["action"] in {"change", "recreate"}
    }


def test_an_old_cluster_matches_the_manifests_after_one_deploy(either: Case) -> None:
    render = _rendered(either)
    old = shell_version.objects(render, f"{either.name}-")
    _aged(either, old)
    names = {(one["kind"], one["metadata"]["name"]) for one in render}
    adopted = [one for one in old if (one["kind"], one["metadata"]["name"]) in names]
    before = _read(either, adopted)

    plan = either.invoke("plan", "--branch", "develop", "--commit", SHA, "--json")
    done = either.invoke("deploy", "--branch", "develop", "--commit", SHA)
    again = either.invoke("deploy", "--branch", "develop", "--commit", SHA)
    status = either.invoke("release.status", "--environment", "staging", "--exit-code")

    assert done.returncode == 0, done.stderr
    shown, seen = _planned(plan.stdout), _differences(before, _read(either, adopted))
    untrue = {name: shown.get(name, set()) ^ seen[name] for name in seen}
    assert {name: fields for name, fields in untrue.items() if fields} == {}
    kept = [one for one in render if one["kind"] != "Job" and one.get("type") != shell_version.TOKEN]
    live, made_anew = _read(either, kept), _with_defaults(either, kept)
    assert [_content(one) for one in live] == [_content(one) for one in made_anew]
    assert "staging is unchanged and ready" in again.stderr
    assert status.returncode == 0, status.stderr

    back = either.invoke("release.rollback", "--environment", "staging", "--to", "0")

    assert back.returncode == 0, back.stderr
    assert "==> rollback to release 0, the state before the first deploy" in back.stderr
    brought_back = [one for one in adopted if one["kind"] != "Secret"]  # these were left as they are
    was = [one for one in before if one["kind"] != "Secret"]
    assert [_content(one) for one in _read(either, brought_back)] == [_content(one) for one in was]


def test_a_failed_first_deploy_restores_what_others_had_deployed(environment: Case) -> None:
    _applied_by_kubectl(environment, BEFORE)
    [before] = _read(environment, [BEFORE])
    environment.hold_only(NOW, workload("web", "crash-loop"))

    done = environment.invoke("deploy", "--branch", "develop", "--commit", SHA, **WITHOUT_RELEASE_KEY)

    assert done.returncode == 1
    assert "This release will not be sealed" in done.stderr
    assert "Rolled the changed objects back to release 0." in done.stderr
    [after] = _read(environment, [BEFORE])
    assert _content(after) == _content(before)
    assert environment.kubectl("get", "deployments,configmaps", "-o", "name").split() == [
        "configmap/kube-root-ca.crt",
        "configmap/lookit-orchestrator",
        "configmap/lookit-orchestrator-release-0",
        "configmap/lookit-orchestrator-release-1",
    ]
    listed = json.loads(environment.invoke("release.list", "--environment", "staging", "--json").stdout)
    assert [one["result"] for one in listed] == ["failed, rolled back", "before the first deploy"]


def test_fields_that_the_manifests_no_longer_have_go(environment: Case) -> None:
    _applied_by_kubectl(environment, BEFORE)
    before = _read(environment, [BEFORE])
    environment.hold_only(NOW)

    planned = environment.invoke("plan", "--branch", "develop", "--commit", SHA, "--json")
    done = environment.invoke("deploy", "--branch", "develop", "--commit", SHA)

    assert done.returncode == 0, done.stderr
    [after] = _read(environment, [BEFORE])
    [(service, shown)] = _planned(planned.stdout).items()
    assert {service: shown} == _differences(before, [after])
    assert {"- metadata.annotations.prometheus.io/port: 9419", "- spec.ports[metrics].port: 9419"} < shown
    assert [port["port"] for port in after["spec"]["ports"]] == [4369, 5672]
    assert "prometheus.io/port" not in after["metadata"].get("annotations", {})
    assert {entry["manager"] for entry in after["metadata"]["managedFields"]} == {"lookit-orchestrator"}


def test_an_object_that_changed_meanwhile_is_taken_over(environment: Case) -> None:
    _applied_by_kubectl(environment, BEFORE)
    connection = connect(environment.settings, environment.environment)
    [w] = wanted([{**BEFORE, "metadata": NOW["metadata"]}], connection.kinds, environment.name)
    kind = connection.kinds["v1", "Service"]
    live = get(connection.api, kind, w.ref)
    environment.kubectl("annotate", "service", w.ref.name, "somebody=was here")
    step, record = Step(w, Action.CHANGE, "", w.body, live), Record("staging")
    record.plan("services", [step])
    writer = Writer(
        connection.api,
        connection.kinds,
        {},
        ["kubectl-client-side-apply"],
        record,
        lambda event: None,
        30,
    )

    stored = writer.apply([step])[w.ref]

    assert "prometheus.io/port" not in stored["metadata"]["annotations"]
    assert stored["metadata"]["annotations"]["somebody"] == "was here"
