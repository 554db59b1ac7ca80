"""Moving from the shell version: what `kubectl apply` left in the cluster is taken over by the first deploy."""

import json

import pytest

from tasks.lib.cluster.connection import connect
from tasks.lib.deploy.acting import Acting
from tasks.lib.deploy.decide import Action, Step
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.observe import get
from tasks.lib.deploy.progress import Record
from tests.sandbox_case import Case

pytestmark = pytest.mark.e2e

SHA = "c" * 40


def _applied_by_kubectl(case: Case, document: object) -> None:
    """What the shell version did: client-side apply, whose fields a plain server-side apply leaves behind."""
    file = case.folder / "before.json"
    file.write_text(json.dumps(document))
    case.kubectl("apply", "-f", str(file))


def _service(case: Case) -> dict[str, object]:
    """RabbitMQ's Service as the shell version has it, with the dead port and the annotation for it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"{case.name}-lookit-rabbitmq",
            "annotations": {"prometheus.io/port": "9419"},
        },
        "spec": {"ports": [{"name": "amqp", "port": 5672}, {"name": "metrics", "port": 9419}]},
    }


def test_fields_that_the_manifests_no_longer_have_go(environment: Case) -> None:
    _applied_by_kubectl(environment, _service(environment))

    planned = environment.invoke("plan", "--branch", "develop", "--commit", SHA)
    done = environment.invoke("deploy", "--branch", "develop", "--commit", SHA)

    assert "- metadata.annotations.prometheus.io/port: 9419" in planned.stderr
    assert "- spec.ports[metrics].port: 9419" in planned.stderr
    assert "last-applied-configuration" not in planned.stderr
    assert done.returncode == 0, done.stderr
    after = json.loads(
        environment.kubectl(
            "get", "service", f"{environment.name}-lookit-rabbitmq", "-o", "json", "--show-managed-fields"
        )
    )
    assert [port["port"] for port in after["spec"]["ports"]] == [4369, 5672, 25672, 15672]
    assert "prometheus.io/port" not in after["metadata"].get("annotations", {})
    assert {entry["manager"] for entry in after["metadata"]["managedFields"]} == {"lookit-orchestrator"}


def test_what_somebody_else_set_is_a_conflict_that_names_the_way_out(environment: Case) -> None:
    assert environment.invoke("deploy", "--branch", "develop", "--commit", SHA).returncode == 0
    environment.kubectl(
        "patch", "deployment", f"{environment.name}-web", "--field-manager=somebody",
        "--type=merge", "-p", '{"spec": {"replicas": 3}}',
    )  # fmt: skip

    done = environment.invoke("deploy", "--branch", "develop", "--commit", SHA)

    assert done.returncode == 1
    assert "somebody" in done.stderr
    assert f"--force-conflicts Deployment/{environment.name}-web" in done.stderr


def test_what_changed_after_the_look_is_taken_over_all_the_same(environment: Case) -> None:
    document = {**_service(environment)}
    _applied_by_kubectl(environment, document)
    connection = connect(environment.settings, environment.environment)
    body = {**document, "metadata": {"name": f"{environment.name}-lookit-rabbitmq"}}
    [w] = wanted([body], connection.kinds, environment.name)
    kind = connection.kinds["v1", "Service"]
    live = get(connection.api, kind, w.ref)
    environment.kubectl("annotate", "service", w.ref.name, "somebody=was here")
    step, record = Step(w, Action.CHANGE, "", w.body, live), Record("staging")
    record.plan("services", [step])
    acting = Acting(
        connection.api,
        connection.kinds,
        {},
        ["kubectl-client-side-apply"],
        record,
        lambda event: None,
    )

    stored = acting.apply([step])[w.ref]

    assert "prometheus.io/port" not in stored["metadata"]["annotations"]
    assert stored["metadata"]["annotations"]["somebody"] == "was here"
