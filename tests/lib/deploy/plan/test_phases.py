import pytest

from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.phases import arrange, ranks
from tasks.lib.settings.deploy import Phase
from tests.builders import checked_in_settings


def an_object(kind: str, name: str) -> Wanted:
    return Wanted(Ref("v1", kind, "default", name), {"kind": kind})


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
    groups = arrange([an_object(kind, name)], checked_in_settings().deploy.phases, "staging-")
    assert [group.title for group in groups] == [phase]


def test_phases_keep_their_order_and_empty_ones_are_left_out() -> None:
    objects = [an_object("Ingress", "i"), an_object("Job", "j"), an_object("ConfigMap", "c")]
    groups = arrange(objects, checked_in_settings().deploy.phases, "")
    assert [(g.title, [w.ref.name for w in g.objects]) for g in groups] == [
        ("configuration, secrets and access", ["c"]),
        ("jobs", ["j"]),
        ("ingress", ["i"]),
    ]


def test_pods_go_last_where_no_phase_takes_deployments() -> None:
    phases = [Phase(title="first", objects=["ConfigMap"]), Phase(title="second", objects=["Job"])]
    groups = arrange([an_object("Deployment", "web")], phases, "")
    assert [group.title for group in groups] == ["second"]


def test_dependencies_are_applied_first() -> None:
    objects = [
        an_object(kind, kind.lower())
        for kind in ("Secret", "Namespace", "RoleBinding", "ServiceAccount", "Role")
    ]
    assert [[w.ref.kind for w in batch] for batch in ranks(objects)] == [
        ["Namespace"],
        ["ServiceAccount", "Role"],
        ["Secret", "RoleBinding"],
    ]
