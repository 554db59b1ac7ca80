import shlex
from typing import Any

import pytest

from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.plan.field_managers import Conflict, bare, options, without
from tasks.lib.errors import UsageError

IMAGE = Conflict(
    Ref("apps/v1", "Deployment", "default", "web"),
    '.spec.template.spec.containers[name="uwsgi"].image',
    "kubectl-set",
)


def test_the_force_option_survives_a_shell() -> None:
    assert shlex.split(options([IMAGE])) == ["--force-conflicts", IMAGE.named]


@pytest.mark.parametrize(
    "typed",
    [
        'Deployment/web:.spec.template.spec.containers[name="uwsgi"].image',
        "Deployment/web:.spec.template.spec.containers[name=uwsgi].image",
        'Deployment/web:spec.template.spec.containers[name="uwsgi"].image',
    ],
    ids=["as it is told", "without the quotes that a shell took", "without the first dot"],
)
def test_a_field_is_recognised_however_it_is_typed(typed: str) -> None:
    assert bare(typed) == bare(IMAGE.named)


@pytest.mark.parametrize("typed", ["Deployment/web", "Deployment/web:", "Deployment/web:.", "web", "", "a:b"])
def test_whole_objects_are_not_taken_over(typed: str) -> None:
    with pytest.raises(UsageError, match="names no field"):
        bare(typed)


CONTAINER = {"name": "uwsgi", "image": "a", "args": ["one", "two"]}
BODY: dict[str, Any] = {
    "metadata": {"name": "web", "annotations": {"example.org/a": "1", "example.org/a.b": "2"}},
    "spec": {
        "replicas": 2,
        "ports": [{"port": 80, "targetPort": 1}, {"port": 80, "protocol": "UDP"}],
        "containers": [{"name": "other"}, CONTAINER],
        "finalizers": ["a]b", "c"],
    },
}


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ([".spec.replicas"], {"spec": {k: v for k, v in BODY["spec"].items() if k != "replicas"}}),
        ([".spec.replicas"] * 2, {"spec": {k: v for k, v in BODY["spec"].items() if k != "replicas"}}),
        (
            ['.spec.containers[name="uwsgi"].image'],
            {
                "spec": {
                    **BODY["spec"],
                    "containers": [{"name": "other"}, {"name": "uwsgi", "args": ["one", "two"]}],
                }
            },
        ),
        (
            ['.spec.ports[port=80,protocol="TCP"].targetPort'],
            {"spec": {**BODY["spec"], "ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}},
        ),
        (['.spec.finalizers[="a]b"]'], {"spec": {**BODY["spec"], "finalizers": ["c"]}}),
        (
            [".metadata.annotations.example.org/a.b"],
            {"metadata": {"name": "web", "annotations": {"example.org/a": "1"}}},
        ),
        ([".spec", ".spec.replicas"], {"spec": None}),
    ],
    ids=["one", "of two managers", "of an item", "by a default", "by value", "with dots", "one in another"],
)
def test_only_the_fields_that_others_own_are_left_out(fields: list[str], changed: dict[str, Any]) -> None:
    found = without(BODY, [Conflict(IMAGE.ref, field, str(n)) for n, field in enumerate(fields)])

    assert found == {key: value for key, value in {**BODY, **changed}.items() if value is not None}
    assert BODY["spec"]["replicas"] == 2
    assert CONTAINER["image"] == "a"


@pytest.mark.parametrize(
    "field",
    [
        ".spec.elsewhere",
        ".spec.replicas.more",
        '.spec.containers[name="none"].image',
        ".spec.ports[0]",
        "odd",
    ],
)
def test_a_field_that_is_not_found_cannot_be_left_out(field: str) -> None:
    assert (
        without(BODY, [Conflict(IMAGE.ref, ".spec.replicas", "a"), Conflict(IMAGE.ref, field, "b")]) is None
    )
