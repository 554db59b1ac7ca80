import pytest

from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.plan import arrange, batches
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.settings.deploy import Phase
from tests.builders import checked_in_settings


def a_step(kind: str, name: str) -> Step:
    return Step(Wanted(Ref("v1", kind, "default", name), {"kind": kind}), Action.CREATE, "", {})


@pytest.mark.parametrize(
    ("kind", "name", "phase"),
    [
        ("ConfigMap", "staging-lookit-configmap-abc", "configuration, secrets and access"),
        ("Secret", "staging-lookit-rabbitmq", "configuration, secrets and access"),
        ("ClusterIssuer", "staging-acme-cluster-issuer", "configuration, secrets and access"),
        ("Service", "staging-gcloud-sqlproxy", "configuration, secrets and access"),
        ("Deployment", "staging-gcloud-sqlproxy", "database proxy and message queue"),
        ("StatefulSet", "staging-lookit-rabbitmq", "database proxy and message queue"),
        ("Job", "staging-migration", "jobs"),
        ("Deployment", "staging-web", "web, worker, beat and builder"),
        ("StatefulSet", "staging-builder", "web, worker, beat and builder"),
        ("ReplicaSet", "staging-unnamed", "web, worker, beat and builder"),
        ("Ingress", "staging-web-ingress", "ingress"),
    ],
)
def test_every_object_of_lookit_has_its_phase(kind: str, name: str, phase: str) -> None:
    groups = arrange([a_step(kind, name)], checked_in_settings().deploy.phases, "staging-")
    assert [title for title, _ in groups] == [phase]


def test_phases_keep_their_order_and_empty_ones_are_left_out() -> None:
    objects = [a_step("Ingress", "i"), a_step("Job", "j"), a_step("ConfigMap", "c")]
    groups = arrange(objects, checked_in_settings().deploy.phases, "")
    assert [(title, [step.ref.name for step in chosen]) for title, chosen in groups] == [
        ("configuration, secrets and access", ["c"]),
        ("jobs", ["j"]),
        ("ingress", ["i"]),
    ]


def test_pods_go_last_where_no_phase_takes_deployments() -> None:
    phases = [Phase(title="first", objects=["ConfigMap"]), Phase(title="second", objects=["Job"])]
    groups = arrange([a_step("Deployment", "web")], phases, "")
    assert [title for title, _ in groups] == ["second"]


def test_dependencies_are_applied_first() -> None:
    objects = [
        a_step(kind, kind.lower())
        for kind in ("Secret", "Namespace", "RoleBinding", "ServiceAccount", "Role")
    ]
    assert [[step.ref.kind for step in batch] for batch in batches(objects)] == [
        ["Namespace"],
        ["ServiceAccount", "Role"],
        ["Secret", "RoleBinding"],
    ]
